package metrics_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/hosts"
	"github.com/bordergw/bordergw/controller/metrics"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

var update = flag.Bool("update", false, "write golden files and the reference")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what the code says (run with -update):\n%s", path, diff)
	}
}

func TestReference(t *testing.T) {
	var b bytes.Buffer
	if err := metrics.WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("..", "..", "docs", "metrics-controller.md"), b.Bytes())
}

func TestExposition(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Client: storetest.Client(t, storetest.Start(t)), Prefix: "/bordergw/", Index: model.Indexes, Log: storetest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if _, err := s.Write(t.Context(), func(tx *store.Tx) error {
		for _, o := range []model.Object{
			&apiv1.VPNConnection{Name: "shop", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "prod"}},
			&apiv1.VPNConnection{Name: "new", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "prod"}},
			&apiv1.GatewayHost{Name: "gw-a"}, &apiv1.GatewayHost{Name: "gw-b"},
		} {
			tx.Put(model.RefOf(o), &apiv1.Stored{Resource: model.Wrap(o)})
		}
		tx.Put(fleet.Availability("shop"), &apiv1.Stored{Availability: &apiv1.AvailabilityRecord{Status: &apiv1.VPNConnectionStatus{
			Availability: apiv1.NotHighlyAvailable, Reasons: []string{apiv1.AvailabilityNoTunnelUp, apiv1.AvailabilityHostSilent},
			Since: &timestamppb.Timestamp{Seconds: 1700000000, Nanos: 5e8}, Tunnels: 4, TunnelsUp: 2, OneMoreFailure: []string{"a", "b", "c"}}}})
		tx.Put(fleet.Presence("gw-a"), &apiv1.Stored{Presence: &apiv1.HostPresence{}})
		tx.Put(fleet.Applied("gw-a"), &apiv1.Stored{Applied: &apiv1.AppliedSnapshot{Revision: 77, Findings: []*apiv1.Finding{{Message: "x"}, {Message: "y", Warning: true}}}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	registry := metrics.NewRegistry(metrics.Sources{
		Store: s, Version: "v1.2.3",
		Sessions: func() hosts.Stats { return hosts.Stats{Sessions: 1, Begun: 2, Snapshots: 3, Refused: 4, Unsealable: 5} },
		Transitions: func() map[string]uint64 {
			return map[string]uint64{apiv1.HighlyAvailable: 6, apiv1.NotHighlyAvailable: 7}
		},
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b, all bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&all, f); err != nil {
			t.Fatal(err)
		}
		if name := f.GetName(); strings.HasPrefix(name, "bordergw_") && name != "bordergw_controller_store_revision" {
			if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden(t, filepath.Join("testdata", "exposition.txt"), b.Bytes())
	problems, err := promlint.New(&all).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
