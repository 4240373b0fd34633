package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

func TestWhoMayDoWhat(t *testing.T) {
	r := start(t)
	r.apply(&apiv1.BorderGateway{Name: "shop"})
	read := func(cert, token string) error {
		_, err := r.client(cert, token).GetBorderGateway(t.Context(), &apiv1.GetBorderGatewayRequest{Name: "shop"})
		return err
	}
	write := func(cert, token string) error {
		_, err := r.client(cert, token).CreateBorderGateway(t.Context(), &apiv1.CreateBorderGatewayRequest{BorderGateway: &apiv1.BorderGateway{Name: "new"}, DryRun: true})
		return err
	}
	audit := func(cert, token string) error {
		_, err := r.client(cert, token).ListAudit(t.Context(), &apiv1.ListAuditRequest{})
		return err
	}
	watch := func(cert, _ string) error {
		stream, err := r.client(cert, "").Watch(t.Context(), &apiv1.WatchRequest{})
		if err != nil {
			return err
		}
		stream.Receive()
		return errors.Join(stream.Err(), stream.Close())
	}
	for _, tc := range []struct {
		name, cert, token string
		do                func(cert, token string) error
		want              string
	}{
		{"operator reads", "operator-alice", "", read, ""},
		{"operator writes", "operator-alice", "", write, ""},
		{"operator audits", "operator-alice", "", audit, ""},
		{"viewer reads", "viewer-bob", "", read, ""},
		{"viewer watches", "viewer-bob", "", watch, ""},
		{"viewer writes", "viewer-bob", "", write, "permission_denied: viewer/bob may not call bordergw.v1.ResourceService/CreateBorderGateway"},
		{"viewer audits", "viewer-bob", "", audit, "permission_denied: viewer/bob may not call bordergw.v1.ResourceService/ListAudit"},
		{"agent reads", "agent-gw-a", "", read, "permission_denied: agent/gw-a may not call bordergw.v1.ResourceService/GetBorderGateway"},
		{"agent watches", "agent-gw-a", "", watch, "permission_denied: agent/gw-a may not call bordergw.v1.ResourceService/Watch"},
		{"controller reads", "controller", "", read, "permission_denied: controller/controller may not call bordergw.v1.ResourceService/GetBorderGateway"},
		{"viewer by token", "", r.token, read, ""},
		{"viewer by token writes", "", r.token, write, "permission_denied: viewer/carol may not call bordergw.v1.ResourceService/CreateBorderGateway"},
		{"a token wins over a certificate", "operator-alice", r.token, write, "permission_denied: viewer/carol may not call bordergw.v1.ResourceService/CreateBorderGateway"},
		{"wrong token", "", r.token + "x", read, "unauthenticated: the bearer token is not known"},
		{"nobody", "", "", read, "unauthenticated: a client certificate or a bearer token is needed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := tc.do(tc.cert, tc.token); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
	// A certificate of another authority does not get as far as a request.
	other := start(t)
	client := other.http("operator-alice")
	if tr, ok := client.Transport.(*http.Transport); ok {
		tr.TLSClientConfig.InsecureSkipVerify = true //nolint:gosec // the server is to refuse the client
		tr.TLSClientConfig.MinVersion = tls.VersionTLS13
	}
	if resp, err := client.Get(r.url + "/openapi.yaml"); err == nil {
		_ = resp.Body.Close()
		t.Error("a certificate of another authority is accepted")
	}
}

func TestEveryProtocolOnOnePort(t *testing.T) {
	r := start(t)
	r.apply(&apiv1.BorderGateway{Name: "shop"})
	for name, opts := range map[string][]connect.ClientOption{"Connect": nil, "gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()}, "Connect JSON": {connect.WithProtoJSON()}} {
		resp, err := r.client("viewer-bob", "", opts...).GetBorderGateway(t.Context(), &apiv1.GetBorderGatewayRequest{Name: "shop"})
		if err != nil || resp.GetBorderGateway().GetSpec().GetAsn() != 65000 {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
	resp, err := r.http("operator-alice").Post(r.url+"/bordergw.v1.ResourceService/CreateVPNConnection", "application/json",
		strings.NewReader(`{"vpnConnection": {"name": "n", "spec": {"borderGateway": "shop", "customerGateway": "none", "routing": "STATIC", "cloudAddresses": ["198.51.100.1"]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Code, Message string
		Details       []struct {
			Type  string
			Debug struct {
				Findings []struct{ Object, Field, Message string }
			}
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	const field, text = "spec.customerGateway", `there is no CustomerGateway "none"`
	if resp.StatusCode != 400 || got.Code != "invalid_argument" || got.Message != "VPNConnection/n: "+field+": "+text ||
		len(got.Details) != 1 || got.Details[0].Debug.Findings[0].Field != field {
		t.Errorf("%d: %s", resp.StatusCode, body)
	}
}

// Whatever is asked for, a secret does not come out: not from the API, not from etcd.
func TestSecretsAreWriteOnly(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, t2 := shop()
	border.Spec.Attachments[0].Peer = &apiv1.AttachmentPeer{Address: "10.0.255.1", Asn: 64999, Password: &apiv1.SecretSource{Value: "secret-of-the-peer"}}
	t1.Spec.Bgp = &apiv1.BGP{Password: &apiv1.SecretSource{Value: "secret-of-bgp"}}
	created := r.apply(border, customer, conn, t1, t2)
	var out bytes.Buffer
	look := func(m any) {
		if x, ok := m.(interface{ String() string }); ok {
			out.WriteString(x.String())
		}
	}
	look(created)
	for _, kind := range []string{"BorderGateways", "VPNTunnels"} {
		resp, err := r.http("operator-alice").Post(r.url+"/bordergw.v1.ResourceService/List"+kind, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&out, resp.Body); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	audit, err := r.operator.ListAudit(t.Context(), &apiv1.ListAuditRequest{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := protojson.Marshal(audit)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(raw)
	all, err := storetest.Client(t, r.etcd).Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range all.Kvs {
		out.Write(kv.Value)
	}
	if !strings.Contains(out.String(), "shop-idc-1") || bytes.Contains(out.Bytes(), []byte("secret-of-")) {
		t.Error("a secret came out")
	}
	tun := created.GetResults()[3].GetAfter().GetVpnTunnel()
	if tun.GetSpec().GetPsk() == nil || tun.GetSpec().GetBgp().GetPassword() == nil {
		t.Error("nothing says that there are secrets")
	}
	for _, e := range audit.GetItems() {
		if e.GetAfter().GetVpnTunnel().GetName() == "shop-idc-1" && strings.Join(e.GetSecrets(), " ") != "spec.psk spec.bgp.password" {
			t.Errorf("the audit log says that %v were set", e.GetSecrets())
		}
	}
	// What was read may be written back.
	tun.Spec.Description = "changed"
	if _, err := r.operator.UpdateVPNTunnel(t.Context(), &apiv1.UpdateVPNTunnelRequest{VpnTunnel: tun}); err != nil {
		t.Error(err)
	}
}

func TestPagesAndFilters(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, t2 := shop()
	r.apply(border, customer, conn, t1, t2)
	list := func(req *apiv1.ListVPNTunnelsRequest) (names []string, next string) {
		t.Helper()
		resp, err := r.operator.ListVPNTunnels(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range resp.GetItems() {
			names = append(names, x.GetName())
		}
		return names, resp.GetNextPageToken()
	}
	first, next := list(&apiv1.ListVPNTunnelsRequest{PageSize: 1})
	second, end := list(&apiv1.ListVPNTunnelsRequest{PageSize: 1, PageToken: next})
	if diff := cmp.Diff([]string{"shop-idc-1", "shop-idc-2"}, append(first, second...)); diff != "" || end != "" {
		t.Error(end, diff)
	}
	if got, _ := list(&apiv1.ListVPNTunnelsRequest{Filters: []string{"spec.connection=shop-idc", "spec.cloudAddress!=198.51.100.1"}}); len(got) != 1 || got[0] != "shop-idc-2" {
		t.Error(got)
	}
	for _, tc := range []struct {
		req  *apiv1.ListVPNTunnelsRequest
		want string
	}{
		{&apiv1.ListVPNTunnelsRequest{PageSize: 1001}, "pageSize: must be at most 1000, not 1001"},
		{&apiv1.ListVPNTunnelsRequest{PageToken: "%"}, "pageToken: is not one that was returned"},
		{&apiv1.ListVPNTunnelsRequest{Filters: []string{"spec.color=red"}}, `filters: "spec.color=red": there is no field "color"`},
	} {
		_, err := r.operator.ListVPNTunnels(t.Context(), tc.req)
		told(t, err, connect.CodeInvalidArgument, tc.want)
	}
}

func TestWatchResumes(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, _ := shop()
	r.apply(border, customer)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// receive returns events until there are n.
	receive := func(req *apiv1.WatchRequest, n int, between func()) (got []string, version string) {
		t.Helper()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := r.operator.Watch(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for len(got) < n && stream.Receive() {
			e := stream.Msg()
			word := e.GetType()
			if o := model.Unwrap(e.GetResource()); o != nil {
				word += " " + model.RefOf(o).String()
			}
			got, version = append(got, word), e.GetResourceVersion()
			if word == "SYNCED" && between != nil {
				between()
			}
		}
		if len(got) < n {
			t.Fatalf("%v: %v", got, stream.Err())
		}
		cancel()
		_ = stream.Close() // it was cancelled
		return got, version
	}
	got, version := receive(&apiv1.WatchRequest{}, 5, func() { r.apply(conn, t1) })
	want := []string{"PUT CustomerGateway/idc", "PUT BorderGateway/shop", "SYNCED", "PUT VPNConnection/shop-idc", "PUT VPNTunnel/shop-idc-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r.apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.AdminState = "DOWN" }))
	if _, err := r.operator.DeleteVPNTunnel(t.Context(), &apiv1.DeleteVPNTunnelRequest{Name: t1.GetName()}); err != nil {
		t.Fatal(err)
	}
	r.apply(&apiv1.BorderGateway{Name: "other"})
	got, _ = receive(&apiv1.WatchRequest{Kinds: []string{"VPNTunnel"}, ResourceVersion: version}, 2, nil)
	if diff := cmp.Diff([]string{"PUT VPNTunnel/shop-idc-1", "DELETED VPNTunnel/shop-idc-1"}, got); diff != "" {
		t.Error(diff)
	}
	fails := func(req *apiv1.WatchRequest) error {
		stream, err := r.operator.Watch(ctx, req)
		if err != nil {
			return err
		}
		stream.Receive()
		err = stream.Err()
		_ = stream.Close() // it has ended
		return err
	}
	told(t, fails(&apiv1.WatchRequest{Kinds: []string{"Router"}}), connect.CodeInvalidArgument,
		`kinds: there is no kind "Router": BorderGateway, CustomerGateway, VPNConnection, VPNTunnel, GatewayHost`)
	told(t, fails(&apiv1.WatchRequest{ResourceVersion: "99999999"}), connect.CodeInvalidArgument, "resourceVersion: is not one that was returned: it is still to come")
	head, err := storetest.Client(t, r.etcd).Get(t.Context(), "/bordergw/data/head")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.Client(t, r.etcd).Compact(t.Context(), head.Kvs[0].ModRevision); err != nil {
		t.Fatal(err)
	}
	if err := fails(&apiv1.WatchRequest{ResourceVersion: version}); connect.CodeOf(err) != connect.CodeOutOfRange {
		t.Errorf("after a compaction: %v", err)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, t2 := shop()
	req := &apiv1.ApplyRequest{DryRun: true}
	for _, o := range []model.Object{t2, t1, conn, customer, border} {
		req.Resources = append(req.Resources, model.Wrap(o))
	}
	dry, err := r.operator.Apply(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, res := range dry.GetResults() {
		got = append(got, fmt.Sprint(res.GetAction(), " ", model.RefOf(model.Unwrap(res.GetAfter()))))
	}
	want := []string{"CREATED VPNTunnel/shop-idc-2", "CREATED VPNTunnel/shop-idc-1", "CREATED VPNConnection/shop-idc", "CREATED CustomerGateway/idc", "CREATED BorderGateway/shop"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	list, err := r.operator.ListVPNTunnels(t.Context(), &apiv1.ListVPNTunnelsRequest{})
	if err != nil || len(list.GetItems()) > 0 {
		t.Error(list, err)
	}
	audit, err := r.operator.ListAudit(t.Context(), &apiv1.ListAuditRequest{})
	if err != nil || len(audit.GetItems()) > 0 {
		t.Error(audit, err)
	}
}

func TestAuditLog(t *testing.T) {
	r := start(t)
	r.apply(&apiv1.BorderGateway{Name: "shop"}, &apiv1.BorderGateway{Name: "other"})
	r.apply(&apiv1.BorderGateway{Name: "shop"}) // changes nothing
	r.apply(&apiv1.BorderGateway{Name: "shop", Spec: &apiv1.BorderGatewaySpec{Asn: 65001}})
	if _, err := r.operator.DeleteBorderGateway(t.Context(), &apiv1.DeleteBorderGatewayRequest{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for token := ""; ; {
		resp, err := r.operator.ListAudit(t.Context(), &apiv1.ListAuditRequest{PageSize: 1, PageToken: token, Kind: "BorderGateway", Name: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range resp.GetItems() {
			got = append(got, fmt.Sprintf("%s %s %d>%d", e.GetActor(), e.GetAction(), e.GetBefore().GetBorderGateway().GetSpec().GetAsn(), e.GetAfter().GetBorderGateway().GetSpec().GetAsn()))
			if e.GetObject() != "BorderGateway/shop" || e.GetResourceVersion() == "" || e.GetTime() == nil || e.GetPeer() == "" {
				t.Errorf("incomplete: %v", e)
			}
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	want := []string{"operator/alice DELETED 65001>0", "operator/alice CHANGED 65000>65001", "operator/alice CREATED 0>65000"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenAPI(t *testing.T) {
	r := start(t)
	resp, err := r.http("").Get(r.url + "/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI    string
		Paths      map[string]any
		Components struct{ Schemas map[string]any }
	}
	if err := yaml.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	methods := apiv1.File_api_v1_controller_proto.Services().ByName("ResourceService").Methods()
	for i := range methods.Len() {
		if path := "/bordergw.v1.ResourceService/" + string(methods.Get(i).Name()); doc.Paths[path] == nil {
			t.Errorf("%s is not described: make generate", path)
		}
	}
	for _, ref := range strings.Split(string(body), "#/components/schemas/")[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("schema %s is missing", name)
		}
	}
}

// FuzzRequests sends whatever bytes as JSON and protobuf to the decoders of the API. It must answer, and never with an internal error.
func FuzzRequests(f *testing.F) {
	r := start(f)
	client := r.http("operator-alice")
	methods := apiv1.File_api_v1_controller_proto.Services().ByName("ResourceService").Methods()
	f.Add(uint(0), true, []byte(`{"borderGateway": {"name": "shop", "spec": {"attachments": [{"name": "a", "peer": {"password": {}}}]}}}`))
	f.Add(uint(25), true, []byte(`{"resources": [{"vpnTunnel": {"name": "t", "spec": {"inside": {"cloud": "1"}, "psk": {"value": "12345678"}}}}, {}], "dryRun": true}`))
	f.Add(uint(10), true, []byte(`{"vpnConnection": {"name": "n", "spec": {"cloudAddresses": [""]}}, "defaultTunnels": true}`))
	f.Add(uint(2), false, []byte{8, 1, 18, 1, 65})
	f.Fuzz(func(t *testing.T, n uint, asJSON bool, body []byte) {
		method := methods.Get(int(n % uint(methods.Len())))
		if method.IsStreamingServer() {
			return
		}
		media := "application/proto"
		if asJSON {
			media = "application/json"
		}
		resp, err := client.Post(r.url+"/bordergw.v1.ResourceService/"+string(method.Name()), media, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s: %d %s", method.Name(), resp.StatusCode, text)
		}
	})
}
