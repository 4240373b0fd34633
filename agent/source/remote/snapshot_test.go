package remote_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

func lines(findings []*apiv1.Finding) []string {
	var out []string
	for _, f := range findings {
		warning := ""
		if f.GetWarning() {
			warning = "warning: "
		}
		out = append(out, fmt.Sprintf("%s%s %s: %s", warning, f.GetObject(), f.GetField(), f.GetMessage()))
	}
	return out
}

func TestSnapshotsComeIntoForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		s := w.accept()
		if s.hello.GetRevision() != 0 || len(s.hello.GetDigest()) != 0 {
			t.Errorf("a snapshot before the first: %v", s.hello)
		}
		first := w.snapshot(7, 2)
		answer := s.offer(first)
		if answer.GetRevision() != 7 || answer.GetRefused() || len(answer.GetFindings()) > 0 {
			t.Errorf("answer %v", answer)
		}
		set := w.emitted()
		if diff := cmp.Diff([]string{"shop-1", "shop-2"}, apiv1.Names(set.Tunnels)); diff != "" {
			t.Error(diff)
		}
		if !set.PSK("shop-2").Equal(secret.New(pskMark+"shop-2")) || !set.HostOnly || set.Tunnels["shop-1"].GetSpec().GetIke().GetVersion() != 2 {
			t.Error("the Set has no open key, is not the host's only, or lacks defaults")
		}
		if st := w.source.Status(); st.GetSource() != "controller:"+s.endpoint || st.GetGeneration() != 1 || st.GetRevision() != 7 ||
			st.GetAccepted() == nil || st.GetDisconnected() != nil || st.GetFromDisk() != nil {
			t.Errorf("status %v", st)
		}

		content, err := os.ReadFile(w.file())
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(w.file()); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if bytes.Contains(content, []byte(pskMark)) || strings.Contains(w.log.String(), pskMark) {
			t.Error("a key is on disk or in the log in clear")
		}

		// The same content, sealed anew: nothing to do.
		if answer := s.offer(w.snapshot(8, 2)); answer.GetRevision() != 8 || answer.GetRefused() {
			t.Errorf("answer %v", answer)
		}
		if set := w.emitted(); set != nil {
			t.Error("a snapshot that changes nothing is emitted")
		}
		if answer := s.offer(&apiv1.Snapshot{Revision: 9, Digest: []byte{8}, Unchanged: true}); answer.GetRefused() {
			t.Errorf("answer %v", answer)
		}
		if got := w.source.Status(); w.emitted() != nil || got.GetRevision() != 9 || got.GetGeneration() != 1 {
			t.Errorf("unchanged: %v", got)
		}
		s.offer(w.snapshot(10, 1))
		if set := w.emitted(); set == nil || len(set.Tunnels) != 1 {
			t.Error("a tunnel that is gone is there still")
		}
	})
}

func TestRefusedAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		s := w.accept()
		if a := s.offer(&apiv1.Snapshot{Revision: 3, Unchanged: true}); !a.GetRefused() || !strings.Contains(a.GetFindings()[0].GetMessage(), "none is in force") {
			t.Errorf("answer %v", a)
		}
		s.offer(w.snapshot(7, 2))
		w.emitted()
		for name, bad := range map[string]*apiv1.Snapshot{
			"older": w.snapshot(6, 1), "unchanged, but another digest": {Revision: 8, Digest: []byte{1}, Unchanged: true},
		} {
			if a := s.offer(bad); !a.GetRefused() || len(a.GetFindings()) != 1 {
				t.Errorf("%s: answer %v", name, a)
			}
			if st := w.source.Status(); w.emitted() != nil || st.GetRevision() != 7 || st.GetRefused() == nil || len(st.GetFindings()) != 1 {
				t.Errorf("%s: status %v", name, st)
			}
		}
		old := w.snapshot(6, 1)
		old.Reset_ = true
		if a := s.offer(old); a.GetRefused() {
			t.Errorf("answer %v", a)
		}
		if st := w.source.Status(); w.emitted() == nil || st.GetRevision() != 6 || st.GetRefused() != nil || len(st.GetFindings()) != 0 {
			t.Errorf("status %v", st)
		}
	})
}

// One object that the host cannot take holds up no other, and what it was before stays.
func TestBadObjects(t *testing.T) {
	other, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Public().Seal("VPNTunnel/shop-1 spec.psk", secret.New("whatever-it-is"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*apiv1.Snapshot)
		// tunnels in force afterwards, of those three of which shop-3 is new; mtu is shop-1's.
		tunnels []string
		mtu     uint32
		// first is how the first finding begins.
		first string
	}{
		{"sealed for another host", func(s *apiv1.Snapshot) { s.Tunnels[0].Spec.Psk.Sealed = foreign },
			[]string{"shop-1", "shop-2", "shop-3"}, 1400, "VPNTunnel/shop-1 spec.psk.sealed: was sealed for key"},
		{"sealed for another tunnel", func(s *apiv1.Snapshot) { s.Tunnels[2].Spec.Psk.Sealed = s.Tunnels[1].Spec.Psk.Sealed },
			[]string{"shop-1", "shop-2"}, 1300, "VPNTunnel/shop-3 spec.psk.sealed: was not sealed for this host and this object"},
		{"a word of tomorrow", func(s *apiv1.Snapshot) { s.Tunnels[0].Spec.Initiation = "SOMETIMES" },
			[]string{"shop-1", "shop-2", "shop-3"}, 1400, "VPNTunnel/shop-1 spec.initiation: must be ALWAYS or RESPOND"},
		{"a word of tomorrow in a new tunnel", func(s *apiv1.Snapshot) { s.Tunnels[2].Spec.Initiation = "SOMETIMES" },
			[]string{"shop-1", "shop-2"}, 1300, "VPNTunnel/shop-3 spec.initiation: must be"},
		{"a tunnel of another host", func(s *apiv1.Snapshot) { s.Tunnels[2].Spec.CloudAddress = "198.51.100.2" },
			[]string{"shop-1", "shop-2"}, 1300, "VPNTunnel/shop-3 spec.cloudAddress: 198.51.100.2 is not an address of this host"},
		{"a connection", func(s *apiv1.Snapshot) { s.Connections[0].Spec.Routing = "OSPF" },
			[]string{"shop-1", "shop-2", "shop-3"}, 1300, "VPNConnection/shop spec.routing: must be STATIC or BGP"},
		{"a new tenant without its customer", func(s *apiv1.Snapshot) {
			s.BorderGateways = append(s.BorderGateways, &apiv1.BorderGateway{Name: "mill", Spec: &apiv1.BorderGatewaySpec{Asn: 65000}})
			s.Connections = append(s.Connections, &apiv1.VPNConnection{Name: "mill", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "mill",
				CustomerGateway: "none", Routing: "STATIC", CloudAddresses: []string{cloudA}}})
		}, []string{"shop-1", "shop-2", "shop-3"}, 1300, `VPNConnection/mill spec.customerGateway: there is no CustomerGateway "none"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				defer func() { w.stop() }()
				s := w.accept()
				before := w.snapshot(7, 2)
				before.Tunnels[0].Spec.Mtu = 1400
				s.offer(before)
				w.emitted()
				next := w.snapshot(8, 3)
				next.Tunnels[0].Spec.Mtu = 1300
				tc.change(next)
				answer := s.offer(next)
				if answer.GetRefused() || len(answer.GetFindings()) == 0 || !strings.HasPrefix(lines(answer.GetFindings())[0], tc.first) {
					t.Errorf("answer %v", answer)
				}
				set := w.emitted()
				if set == nil {
					t.Fatal("nothing is emitted")
				}
				if diff := cmp.Diff(tc.tunnels, apiv1.Names(set.Tunnels)); diff != "" {
					t.Error(diff)
				}
				if got := set.Tunnels["shop-1"].GetSpec().GetMtu(); got != tc.mtu {
					t.Errorf("shop-1 has MTU %d, not %d", got, tc.mtu)
				}
				if !set.PSK("shop-1").Equal(secret.New(pskMark + "shop-1")) {
					t.Error("shop-1 has lost its key")
				}
				if st := w.source.Status(); st.GetRefused() == nil || st.GetRevision() != 8 {
					t.Errorf("status %v", st)
				}
				// What is in force is what is on disk.
				w.stop()
				w.reachable(false)
				w.start()
				time.Sleep(6 * time.Second)
				if again := w.emitted(); again == nil || !again.Equal(set) {
					t.Error("after a restart without a controller another state is in force")
				}
			})
		})
	}
}

func TestFieldsOfANewerController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		s := w.accept()
		snapshot := w.snapshot(7, 2)
		unknown := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)
		snapshot.ProtoReflect().SetUnknown(unknown)
		snapshot.Tunnels[1].Spec.Inside.ProtoReflect().SetUnknown(unknown)
		s.say(&apiv1.ConnectResponse{}) // a message of a kind that is not known
		answer := s.offer(snapshot)
		want := []string{"warning: VPNTunnel/shop-2 : has fields that this agent does not know and leaves out of account: it is older than the controller"}
		if diff := cmp.Diff(want, lines(answer.GetFindings())); diff != "" {
			t.Error(diff)
		}
		if set := w.emitted(); answer.GetRefused() || set == nil || len(set.Tunnels) != 2 {
			t.Error("the snapshot is not in force")
		}
	})
}

// What charon can do becomes known, or changes: the newest snapshot is judged anew and the controller hears of it.
func TestReread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		s := w.accept()
		snapshot := w.snapshot(7, 2)
		snapshot.Tunnels[1].Spec.Ike = &apiv1.IKE{PostQuantum: apiv1.PostQuantumRequired}
		s.offer(snapshot)
		if set := w.emitted(); len(set.Tunnels) != 2 {
			t.Fatal("refused before anybody knows what charon can do")
		}
		for _, tc := range []struct {
			mlkem    apiv1.Capability
			findings int
		}{{apiv1.CapabilityAbsent, 1}, {apiv1.CapabilityPresent, 0}} {
			w.mlkem = tc.mlkem
			w.source.Reread()
			s = w.accept()
			if got := s.hello.GetDigest(); string(got) != "\x07" {
				t.Errorf("digest %x", got)
			}
			answer := s.offer(&apiv1.Snapshot{Revision: 7, Digest: []byte{7}, Unchanged: true})
			if len(answer.GetFindings()) != tc.findings || len(w.source.Status().GetFindings()) != tc.findings {
				t.Errorf("%d: answer %v", tc.mlkem, answer)
			}
		}
	})
}
