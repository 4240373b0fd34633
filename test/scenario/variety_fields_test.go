//go:build lab

package scenario

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// TestVarietyFields: fields of the tunnel that one can see on the gateway or on the wire: who begins, where the key comes from, replay windows
// of all sizes, sizes given by hand, identities of two kinds. Beside them a device whose selectors leave nothing for the cloud's.
func TestVarietyFields(t *testing.T) {
	keys := t.TempDir()
	waits := &device{name: "waits", later: true, spec: "initiation: RESPOND\nreplayWindow: 0"}
	file := &device{name: "key-file", keyFrom: "{file: " + filepath.Join(keys, "key-file") + "}", spec: "replayWindow: 32"}
	env := &device{name: "key-env", keyFrom: "{env: BORDERGW_TEST_KEY}"}
	sizes := &device{name: "sizes", spec: "mtu: 1300\nmss: 1200\nreplayWindow: 4096\nlocalId: vpn.cloud.example\nremoteId: keyid:branch-9",
		customer: func(c *lab.CustomerTunnel) {
			c.LocalID, c.RemoteID, c.MTU = "keyid:branch-9", "vpn.cloud.example", 1500
		}}
	selectors := &device{name: "selectors", customer: func(c *lab.CustomerTunnel) {
		c.ChildExtra = "local_ts = fd00:1::/64\nremote_ts = fd00:2::/64"
	}}
	if err := os.WriteFile(filepath.Join(keys, "key-file"), []byte("the-key-of-key-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BORDERGW_TEST_KEY", "the-key-of-key-env")
	w := newVariety(t, waits, file, env, sizes, selectors)
	begins := w.GatewayA.Sniff("eth0", func(p lab.Packet) bool {
		return p.Outgoing && p.Dst.String() == waits.public && p.Protocol == unix.IPPROTO_UDP
	})
	w.Running(2*startup, "waits=DOWN:WAITING_FOR_PEER", "key-file=UP", "key-env=UP", "sizes=UP", "selectors=DOWN:TRAFFIC_SELECTORS_UNACCEPTABLE")
	if n, err := begins.Stop(); n > 0 || err != nil {
		t.Errorf("%d packets of IKE went to the device that is to begin: %v", n, err)
	}
	waits.tunnel.Initiate = true
	waits.start()
	w.Running(startup, "waits=UP")
	for d, window := range map[*device]int{waits: 0, file: 32, env: 1024, sizes: 4096} {
		d.pings()
		if got := w.replayWindow(d); got != window {
			t.Errorf("%s: the kernel's replay window is %d, want %d", d.name, got, window)
		}
	}
	if st := sizes.status(); st.MTU != 1300 || st.Negotiated.LocalID != "vpn.cloud.example" || st.Negotiated.RemoteID != "branch-9" {
		t.Errorf("sizes: MTU %d, identities %q and %q", st.MTU, st.Negotiated.LocalID, st.Negotiated.RemoteID)
	}
	connections, err := w.Connections()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := connections["sizes"].Reasons, []string{"SINGLE_CUSTOMER_ADDRESS", "CLOUD_ADDRESS_WITHOUT_TUNNEL"}; !slices.Equal(got, want) {
		t.Errorf("sizes: reasons %q, want %q", got, want)
	}
	cloud := w.VPCHost.EchoServer(lab.ServerOptions{Address: lab.VPCHost})
	defer cloud.Close()
	sizes.segments(t, 1200+40)
}

// replayWindow is what the gateway's kernel checks on packets from the device: a field of the state up to 32, a bitmap of its own above
// (XFRMA_REPLAY_ESN_VAL, include/uapi/linux/xfrm.h).
func (w *variety) replayWindow(d *device) int {
	w.t.Helper()
	out := w.must(w.GatewayA.Run("ip", "xfrm", "state", "list", "src", d.public, "dst", lab.GatewayA))
	window := 0
	for _, m := range regexp.MustCompile(`replay[-_]window (\d+)`).FindAllStringSubmatch(out, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			w.t.Fatal(err)
		}
		window = max(window, n)
	}
	if !strings.Contains(out, "proto esp") {
		w.t.Errorf("%s: no state of ESP in %q", d.name, out)
	}
	return window
}
