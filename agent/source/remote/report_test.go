package remote_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func state(name, running string, bytes uint64) *apiv1.VPNTunnel {
	return &apiv1.VPNTunnel{Name: name, Status: &apiv1.VPNTunnelStatus{Running: running, Counters: &apiv1.Counters{BytesIn: bytes},
		BgpSession: &apiv1.BGPSession{State: "ESTABLISHED", PrefixesReceived: uint32(bytes)}}}
}

func names(r *apiv1.StatusReport) []string {
	var out []string
	for _, t := range r.GetTunnels() {
		out = append(out, t.GetName()+" "+t.GetStatus().GetRunning())
	}
	return out
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		s := w.accept()
		// Before everything has been applied once, tunnels are not down: they are not known.
		w.publish(false, state("shop-1", "DOWN", 0))
		for _, m := range s.drain() {
			t.Errorf("said too early: %v", m)
		}
		w.publish(true, state("shop-1", "UP", 1), state("shop-2", "DOWN", 0))
		r := s.report()
		if diff := cmp.Diff([]string{"shop-1 UP", "shop-2 DOWN"}, names(r)); diff != "" || !r.GetComplete() {
			t.Error(r.GetComplete(), diff)
		}
		if st := r.GetTunnels()[0].GetStatus(); st.GetCounters() != nil || st.GetBgpSession().GetPrefixesReceived() != 0 {
			t.Errorf("a report has what changes all the time: %v", st)
		}
		// Counters alone are no change.
		w.publish(true, state("shop-1", "UP", 2), state("shop-2", "DOWN", 0))
		for _, m := range s.drain() {
			t.Errorf("said without need: %v", m)
		}
		w.publish(true, state("shop-1", "UP", 3), state("shop-2", "UP", 4))
		r = s.report()
		if diff := cmp.Diff([]string{"shop-2 UP"}, names(r)); diff != "" || r.GetComplete() {
			t.Error(r.GetComplete(), diff)
		}
		w.publish(true, state("shop-2", "UP", 4))
		if r := s.report(); len(r.GetTunnels()) > 0 || !cmp.Equal(r.GetRemoved(), []string{"shop-1"}) {
			t.Errorf("removed: %v", r)
		}

		// Heartbeats every three seconds, counters every ten.
		beats, counts := 0, []*apiv1.CountersReport{}
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
			s.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Heartbeat{Heartbeat: &apiv1.Heartbeat{}}})
			for _, m := range s.drain() {
				if m.GetHeartbeat() != nil {
					beats++
				}
				if m.GetCounters() != nil {
					counts = append(counts, m.GetCounters())
				}
			}
		}
		if beats < 9 || beats > 11 || len(counts) < 2 || len(counts) > 3 {
			t.Errorf("%d heartbeats and %d reports of counters in 30 s", beats, len(counts))
		}
		if c := counts[0].GetTunnels(); len(c) != 1 || c[0].GetName() != "shop-2" || c[0].GetCounters().GetBytesIn() != 4 || c[0].GetPrefixesReceived() != 4 {
			t.Errorf("counters %v", c)
		}

		// Another session is told everything.
		close(s.cut)
		if r := w.accept().report(); !r.GetComplete() || len(r.GetTunnels()) != 1 {
			t.Errorf("%v", r)
		}
	})
}
