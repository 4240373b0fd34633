package server_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestHealth(t *testing.T) {
	var view atomic.Pointer[status.View]
	r := start(t, view.Load)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := (&http.Client{Transport: transport}).Get("http://" + r.metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, read(t, resp)
	}
	ready := func(v *status.View, code int, words ...string) {
		t.Helper()
		view.Store(v)
		got, body := get("/readyz")
		if got != code {
			t.Errorf("/readyz = %d %s, want %d", got, body, code)
		}
		for _, w := range words {
			if !strings.Contains(body, w) {
				t.Errorf("/readyz says %q, want %q in it", body, w)
			}
		}
	}
	const no = http.StatusServiceUnavailable
	ready(nil, no, "not read its state")
	ready(&status.View{}, no, "not read its state")
	ready(&status.View{Host: &apiv1.GetHostResponse{}}, no, "no desired state", "not connected to charon")
	ready(&status.View{Host: &apiv1.GetHostResponse{CharonConnected: true, Source: &apiv1.SourceStatus{
		Source: "file:/etc/m", Findings: []*apiv1.Finding{{Message: "bad"}, {Warning: true}},
	}}}, no, "desired state of file:/etc/m was refused (1 errors)")
	accepted := &apiv1.SourceStatus{Generation: 1}
	ready(&status.View{
		Host:     &apiv1.GetHostResponse{CharonConnected: true, Source: accepted},
		Gateways: []*apiv1.BorderGateway{{Name: "shop-prod"}},
	}, no, "border gateway shop-prod is not fully programmed")
	ready(&status.View{Host: &apiv1.GetHostResponse{CharonConnected: true, Source: accepted}}, no, "under way")
	// After the first full apply a lost charon does not make the agent unready: its traffic still flows.
	ready(&status.View{Host: &apiv1.GetHostResponse{Ready: true}}, http.StatusOK, "ok")

	if code, body := get("/livez"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/livez = %d %q", code, body)
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, "bordergw_test 1") {
		t.Errorf("/metrics = %d %q", code, body)
	}
	if code, _ := get("/bordergw.v1.AgentService/ListTunnels"); code != http.StatusNotFound {
		t.Errorf("the local API answers %d on the metrics address, want 404", code)
	}
}
