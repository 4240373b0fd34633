package link_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
)

func TestApplyMakesEverythingOnce(t *testing.T) {
	r := newRig(t)
	r.check(shop())
	for path, want := range map[string]string{
		"net/ipv4/conf/bgwv1/rp_filter":           "0",
		"net/ipv4/conf/bgwv1/forwarding":          "1",
		"net/ipv4/conf/bgw1/rp_filter":            "0",
		"net/ipv4/conf/bgw1/forwarding":           "1",
		"net/ipv4/conf/bgw1/disable_policy":       "0",
		"net/ipv6/conf/bgw1/forwarding":           "1",
		"net/ipv6/conf/bgw1/accept_ra":            "0",
		"net/ipv4/conf/vpc0/rp_filter":            "0",
		"net/ipv6/conf/vpc0/forwarding":           "1",
		"net/ipv6/conf/vpc0/keep_addr_on_down":    "1",
		"net/ipv4/conf/eth0/rp_filter":            "2",
		"net/ipv6/conf/eth0/accept_ra":            "1",
		"net/ipv4/conf/default/rp_filter":         "2",
		"net/ipv6/conf/default/accept_ra":         "1",
		"net/ipv6/conf/bgwv1/keep_addr_on_down":   "0",
		"net/ipv4/conf/all/rp_filter":             "0",
		"net/ipv6/conf/default/disable_policy":    "0",
		"net/ipv6/conf/eth0/keep_addr_on_down":    "0",
		"net/ipv6/conf/all/forwarding":            "0",
		"net/ipv4/ip_forward":                     "0",
		"net/ipv4/fib_multipath_hash_policy":      "0",
		"net/ipv6/conf/default/forwarding":        "0",
		"net/ipv4/conf/default/forwarding":        "0",
		"net/ipv6/fib_multipath_hash_policy":      "0",
		"net/ipv4/conf/eth0/forwarding":           "0",
		"net/ipv6/conf/all/keep_addr_on_down":     "0",
		"net/ipv4/conf/default/disable_policy":    "0",
		"net/ipv6/conf/default/keep_addr_on_down": "0",
	} {
		if got := r.kernel.Sysctl(path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	if w := r.check(shop()); len(w) > 0 {
		t.Errorf("second round writes: %q", w)
	}
	r.Invalidate("shop")
	if w := r.check(shop()); len(w) > 0 {
		t.Errorf("round that looks at everything writes: %q", w)
	}
	res, err := r.Apply(t.Context(), shop())
	if err != nil {
		t.Fatal(err)
	}
	want := link.Result{
		VRFIndex: r.index("bgwv1"),
		Interfaces: map[string]link.InterfaceState{
			"shop-1": {Name: "bgw1", Index: r.index("bgw1"), Exists: true, OperUp: true},
			"shop-2": {Name: "bgw2", Index: r.index("bgw2"), Exists: true, OperUp: true},
		},
		Members: map[string]link.MemberState{"vpc0": {Index: r.index("vpc0"), Exists: true, Enslaved: true, OperUp: true}},
	}
	if d := cmp.Diff(want, res, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("result (-want +got):\n%s", d)
	}
}

func TestChanges(t *testing.T) {
	tests := []struct {
		name   string
		change func(*link.Gateway)
		keeps  []string // devices that must not be recreated
	}{
		{"MTU", func(g *link.Gateway) { g.Interfaces[0].MTU = 1300 }, []string{"bgwv1", "bgw1", "bgw2"}},
		{"IPv4 address", func(g *link.Gateway) { g.Interfaces[0].Address = netip.MustParsePrefix("169.254.10.1/31") }, []string{"bgw1", "bgw2"}},
		{"IPv6 prefix length", func(g *link.Gateway) { g.Interfaces[1].Address = netip.MustParsePrefix("fd99::1/127") }, []string{"bgw1", "bgw2"}},
		{"down", func(g *link.Gateway) { g.Interfaces[0].Up = false }, []string{"bgw1", "bgw2"}},
		{"if_id", func(g *link.Gateway) { g.Interfaces[0].IfID = 99 }, []string{"bgwv1", "bgw2"}},
		{"if_ids swapped", func(g *link.Gateway) {
			g.Interfaces[0], g.Interfaces[1] = g.Interfaces[1], g.Interfaces[0]
			g.Interfaces[0].Name, g.Interfaces[1].Name = g.Interfaces[1].Name, g.Interfaces[0].Name
			g.Interfaces[0].IfID, g.Interfaces[1].IfID = 21, 22
		}, []string{"bgwv1"}},
		{"device renamed, if_id kept", func(g *link.Gateway) { g.Interfaces[0].Name = "bgw9" }, []string{"bgwv1", "bgw2"}},
		{"tunnel removed", func(g *link.Gateway) { g.Interfaces = g.Interfaces[:1] }, []string{"bgwv1", "bgw1"}},
		{"member removed", func(g *link.Gateway) { g.Members = nil }, []string{"bgwv1", "bgw1", "bgw2"}},
		{"another table", func(g *link.Gateway) { g.Table = 100009 }, []string{"bgw1", "bgw2"}},
		{"another VRF name", func(g *link.Gateway) { g.VRF = "bgwv7" }, []string{"bgw1", "bgw2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.check(shop())
			before := map[string]int{}
			for _, name := range tt.keeps {
				before[name] = r.index(name)
			}
			want := shop()
			tt.change(&want)
			r.converge(want)
			for name, index := range before {
				if r.index(name) != index {
					t.Errorf("%s was recreated", name)
				}
			}
		})
	}
}

func TestConflictsAreLeftAlone(t *testing.T) {
	r := newRig(t)
	k := r.kernel.Outside()
	r.kernel.AddDevice("bgw1")
	if err := k.AddXfrm("corp0", 12, r.index("eth0"), 1400); err != nil {
		t.Fatal(err)
	}
	if err := k.AddVRF("corpvrf", 5); err != nil {
		t.Fatal(err)
	}
	r.kernel.AddDevice("vpc1")
	if err := k.SetMaster(r.index("vpc1"), r.index("corpvrf")); err != nil {
		t.Fatal(err)
	}
	want := shop()
	want.Members = []string{"vpc1", "vpc9", "vpc0"}
	foreign := func() map[string]device {
		all := r.devices()
		for name := range all {
			if !slices.Contains([]string{"bgw1", "corp0", "corpvrf", "vpc1", "eth0"}, name) {
				delete(all, name)
			}
		}
		return all
	}
	before := foreign()
	res, err := r.Apply(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	for object, text := range map[string]string{
		"tunnel/shop-1": "bgw1", "tunnel/shop-2": "corp0", "member/vpc1": "corpvrf",
	} {
		if err := res.Errors[object]; !errors.Is(err, link.ErrConflict) || !contains(err, text) {
			t.Errorf("%s: %v, want a conflict that names %s", object, err, text)
		}
	}
	if err := res.Errors["member/vpc9"]; !errors.Is(err, netlink.ErrNotExist) || !contains(err, "vpc9") {
		t.Errorf("missing member: %v", err)
	}
	if len(res.Errors) != 4 || !res.Members["vpc0"].Enslaved {
		t.Errorf("the good member: %+v; errors %v", res.Members["vpc0"], res.Errors)
	}
	if err := r.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, foreign(), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Errorf("foreign devices (-want +got):\n%s", d)
	}
}

func TestForeignVRFIsAConflict(t *testing.T) {
	r := newRig(t)
	if err := r.kernel.Outside().AddVRF("bgwv1", 7); err != nil {
		t.Fatal(err)
	}
	res, err := r.Apply(t.Context(), shop())
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(res.Errors["vrf"], link.ErrConflict) {
		t.Errorf("VRF: %v", res.Errors["vrf"])
	}
	// Without its VRF no tunnel may carry packets: they would be routed by the main table.
	for name, s := range res.Interfaces {
		if s.OperUp {
			t.Errorf("tunnel %s is up outside its VRF", name)
		}
	}
	if res.Members["vpc0"].Enslaved {
		t.Error("member enslaved to a foreign VRF")
	}
}

func TestBadValuesNameTheProblem(t *testing.T) {
	r := newRig(t)
	for text, change := range map[string]func(*link.Gateway){
		"name missing":          func(g *link.Gateway) { g.Name = "" },
		"does not start with":   func(g *link.Gateway) { g.VRF = "vrf1" },
		"table 254":             func(g *link.Gateway) { g.Table = 254 },
		"1 to 15 characters":    func(g *link.Gateway) { g.VRF = "bgwv234567890123" },
		"characters that names": func(g *link.Gateway) { g.VRF = "bgwv/../x" },
	} {
		g := shop()
		change(&g)
		if _, err := r.Apply(t.Context(), g); !contains(err, text) {
			t.Errorf("error %v, want one with %q", err, text)
		}
	}
	for text, change := range map[string]func(*link.Interface){
		"which is for VRFs":      func(i *link.Interface) { i.Name = "bgwv5" },
		"if_id is 0":             func(i *link.Interface) { i.IfID = 0 },
		"underlay missing":       func(i *link.Interface) { i.Underlay = "" },
		"underlay wan9":          func(i *link.Interface) { i.Underlay = "wan9" },
		"address missing":        func(i *link.Interface) { i.Address = netip.Prefix{} },
		"MTU 0 is too small":     func(i *link.Interface) { i.MTU = 0 },
		"used twice":             func(i *link.Interface) { i.Name = "bgw1" },
		"does not start with":    func(i *link.Interface) { i.Name = "tun0" },
		"if_id 0xb is in use by": func(i *link.Interface) { i.IfID = 11 },
	} {
		g := shop()
		change(&g.Interfaces[1])
		res, err := r.Apply(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		if !contains(res.Errors["tunnel/shop-2"], text) {
			t.Errorf("error %v, want one with %q", res.Errors["tunnel/shop-2"], text)
		}
		if len(res.Errors) != 1 || !res.Interfaces["shop-1"].OperUp {
			t.Errorf("%s: the good tunnel suffers: %v", text, res.Errors)
		}
	}
}

func TestGatewaysDoNotShareDevices(t *testing.T) {
	r := newRig(t)
	r.check(shop())
	other := shop()
	other.Name, other.VRF, other.Table = "other", "bgwv2", 100002
	other.Interfaces[0].Tunnel, other.Interfaces[1].Tunnel = "other-1", "other-2"
	other.Interfaces[1].Name, other.Interfaces[1].IfID = "bgw5", 15
	res, err := r.Apply(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range []string{"tunnel/other-1", "member/vpc0"} {
		if !contains(res.Errors[object], "gateway shop") {
			t.Errorf("%s: %v", object, res.Errors[object])
		}
	}
	if !res.Interfaces["other-2"].OperUp {
		t.Error("the tunnel with a device of its own is not up")
	}
	other.VRF = "bgwv1"
	if _, err := r.Apply(t.Context(), other); !contains(err, "belongs to gateway shop") {
		t.Errorf("shared VRF: %v", err)
	}
}

func TestRestart(t *testing.T) {
	r := newRig(t)
	r.check(shop())
	gone := link.Gateway{Name: "gone", VRF: "bgwv3", Table: 100003, Members: []string{"vpc3"}, Interfaces: []link.Interface{
		{Tunnel: "gone-1", Name: "bgw3", IfID: 13, Underlay: "eth0", Address: netip.MustParsePrefix("169.254.9.1/30"), MTU: 1400, Up: true},
	}}
	r.kernel.AddDevice("vpc3", netip.MustParsePrefix("fd03::1/64"))
	r.apply(gone)

	second := newDriver(r.kernel)
	vrfs, interfaces, err := second.Existing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantVRFs := []link.ExistingVRF{
		{Gateway: "shop", Name: "bgwv1", Table: 100001, Index: r.index("bgwv1")},
		{Gateway: "gone", Name: "bgwv3", Table: 100003, Index: r.index("bgwv3")},
	}
	if d := cmp.Diff(wantVRFs, vrfs); d != "" {
		t.Errorf("VRFs (-want +got):\n%s", d)
	}
	wantInterface := link.ExistingInterface{
		Tunnel: "shop-1", Name: "bgw1", IfID: 11, Index: r.index("bgw1"), VRF: "bgwv1", Gateway: "shop", MTU: 1400, OperUp: true,
	}
	if len(interfaces) != 3 || interfaces[0] != wantInterface {
		t.Errorf("interfaces: %+v", interfaces)
	}
	r.kernel.TakeWrites()
	res, err := second.Apply(t.Context(), shop())
	if err != nil || len(res.Errors) > 0 {
		t.Fatalf("Apply: %v, %v", err, res.Errors)
	}
	if w := r.kernel.TakeWrites(); len(w) > 0 {
		t.Errorf("adoption writes: %q", w)
	}
	if err := second.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.kernel.Outside().DeleteLink(r.index("eth0")); err != nil { // not compared
		t.Fatal(err)
	}
	all := r.devices()
	if d := cmp.Diff(device{MTU: 1500, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("fd03::1/64")}}, all["vpc3"],
		cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Errorf("released member (-want +got):\n%s", d)
	}
	for _, name := range []string{"bgwv3", "bgw3"} {
		if _, ok := all[name]; ok {
			t.Errorf("%s not swept", name)
		}
	}
	for _, name := range []string{"bgwv1", "bgw1", "bgw2"} {
		if _, ok := all[name]; !ok {
			t.Errorf("%s swept", name)
		}
	}
}

// A process that ends between creating a device and marking it leaves a device without alias.
func TestHalfMadeDevicesAreAdopted(t *testing.T) {
	r := newRig(t)
	k := r.kernel.Outside()
	if err := errors.Join(k.AddVRF("bgwv1", 100001), k.AddXfrm("bgw1", 11, r.index("eth0"), 1500)); err != nil {
		t.Fatal(err)
	}
	index := r.index("bgw1")
	r.check(shop())
	if r.index("bgw1") != index {
		t.Error("recreated")
	}
}

// A device that still belongs to a tunnel of the past has that tunnel's SAs on its if_id: it cannot be taken over.
func TestAnotherTunnelsDeviceIsRecreated(t *testing.T) {
	r := newRig(t)
	r.check(shop())
	index := r.index("bgw1")
	second := newDriver(r.kernel)
	want := shop()
	want.Interfaces[0].Tunnel = "shop-9"
	if res, err := second.Apply(t.Context(), want); err != nil || len(res.Errors) > 0 {
		t.Fatalf("Apply: %v, %v", err, res.Errors)
	}
	if d := r.difference(want); d != "" {
		t.Errorf("kernel (-want +got):\n%s", d)
	}
	if r.index("bgw1") == index {
		t.Error("kept")
	}
}

func TestEnsureSysctls(t *testing.T) {
	r := newRig(t)
	if problems := r.EnsureSysctls(t.Context()); len(problems) > 0 {
		t.Errorf("problems: %+v", problems)
	}
	for _, path := range []string{
		"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/fib_multipath_hash_policy", "net/ipv6/fib_multipath_hash_policy",
	} {
		if v := r.kernel.Sysctl(path); v != "1" {
			t.Errorf("%s = %q, want 1", path, v)
		}
	}
	root := r.kernel.SysctlRoot()
	if err := errors.Join(
		os.WriteFile(filepath.Join(root, "net/ipv4/conf/all/rp_filter"), []byte("1\n"), 0o644),
		os.Remove(filepath.Join(root, "net/ipv4/fib_multipath_hash_policy")),
	); err != nil {
		t.Fatal(err)
	}
	problems := r.EnsureSysctls(t.Context())
	if len(problems) != 2 {
		t.Fatalf("problems: %+v", problems)
	}
	missing, strict := problems[0], problems[1]
	if missing.Key != "net.ipv4.fib_multipath_hash_policy" || missing.Have != "" || !errors.Is(missing.Err, os.ErrNotExist) {
		t.Errorf("missing sysctl: %+v", missing)
	}
	if strict.Key != "net.ipv4.conf.all.rp_filter" || strict.Have != "1" || strict.Want != "0" {
		t.Errorf("strict rp_filter: %+v", strict)
	}
	if r.kernel.Sysctl("net/ipv4/conf/all/rp_filter") != "1" {
		t.Error("the host's own rp_filter was changed")
	}
}
