//go:build lab

package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// policyConf is a policy-based device: no interface for the tunnel, one CHILD_SA for each pair of networks.
const policyConf = `connections {
	cloud {
		version = 2
		local_addrs = %[1]s
		remote_addrs = 198.51.100.1
		proposals = aes256-sha256-modp2048
		mobike = no
		dpd_delay = 5s
		local {
			auth = psk
			id = %[1]s
		}
		remote {
			auth = psk
			id = 198.51.100.1
		}
		children {
			office {
				local_ts = %[2]s/32
				remote_ts = 10.0.0.0/16
				esp_proposals = aes256-sha256-modp2048
			}
			plant {
				local_ts = %[3]s/32
				remote_ts = 10.0.0.0/16
				esp_proposals = aes256-sha256-modp2048
			}
		}
	}
}
secrets {
	ike-cloud {
		id-1 = %[1]s
		id-2 = 198.51.100.1
		secret = "%[4]s"
	}
}
`

// TestVarietyPolicyBased: a device that makes one CHILD_SA for each pair of networks. Both pairs have traffic, and the tunnel is UP as long
// as one of them is there.
func TestVarietyPolicyBased(t *testing.T) {
	d := &device{name: "policy", spec: "initiation: RESPOND\nprobe: {mode: OFF}", own: true}
	w := newVariety(t, d)
	plant := "172.20.0.77"
	d.host.Address("lo", plant+"/32")
	d.charon.LoadConns(fmt.Sprintf(policyConf, d.address, d.lan, plant, d.psk))
	w.Running(startup, "policy=DOWN:WAITING_FOR_PEER")
	children := func(n int) {
		t.Helper()
		lab.Eventually(t, startup, fmt.Sprintf("%d CHILD_SAs", n), func() error {
			if st := d.status(); len(st.ChildSAs) != n || st.Running != "UP" {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
	}
	reach := func(addr string, want int) {
		t.Helper()
		lab.Eventually(t, startup, addr, func() error {
			s := w.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: addr, Count: 20, Interval: 20 * time.Millisecond, Grace: time.Second}).Wait()
			if s.Received != want {
				return fmt.Errorf("%v", s)
			}
			return nil
		})
	}
	initiate := func(child string) {
		t.Helper()
		if _, err := d.charon.Swanctl("--initiate", "--child", child); err != nil {
			t.Fatal(err)
		}
	}
	initiate("office")
	children(1)
	reach(d.lan, 20)
	reach(plant, 0)
	initiate("plant")
	children(2)
	reach(d.lan, 20)
	reach(plant, 20)
	if _, err := d.charon.Swanctl("--terminate", "--child", "office"); err != nil {
		t.Fatal(err)
	}
	children(1)
	reach(plant, 20)
	reach(d.lan, 0)
	if n := d.wentDown(); n > 0 {
		t.Errorf("it went down %d times:\n%s", n, d.log())
	}
	// The last one takes the tunnel down, and its own return brings it back.
	if _, err := d.charon.Swanctl("--terminate", "--child", "plant"); err != nil {
		t.Fatal(err)
	}
	w.Running(startup, "policy=DOWN:CLOSED_BY_PEER")
	initiate("office")
	initiate("plant")
	children(2)
	reach(d.lan, 20)
	reach(plant, 20)
}
