package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

const boot = 3 // RTPROT_BOOT, of rules made by hand

func table(priority uint32, protocol uint8, id uint32) netlink.Rule {
	return netlink.Rule{Priority: priority, Protocol: protocol, Table: id}
}

func local(priority uint32, protocol uint8) netlink.Rule {
	return table(priority, protocol, netlink.LocalTable)
}

func l3mdev(priority uint32, protocol uint8) netlink.Rule {
	return netlink.Rule{Priority: priority, Protocol: protocol, L3mdev: true}
}

func special(priority uint32) netlink.Rule {
	r := table(priority, boot, 100)
	r.Other = true
	return r
}

const kernelMade = netlink.ProtocolKernel

// rules lists the rules of one family that come before the kernel's own for VRFs.
func rules(t *testing.T, k netlink.Kernel, v6 bool) []netlink.Rule {
	t.Helper()
	list, err := k.Rules(v6)
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(r netlink.Rule) bool { return r.Priority == 1000 || r.Priority >= 32766 })
	for i := range list {
		if list[i].IPv6 != v6 {
			t.Errorf("rule of the wrong family: %+v", list[i])
		}
		list[i].IPv6 = false // so that both families compare
	}
	return list
}

func wantRules(t *testing.T, what string, k netlink.Kernel, want ...netlink.Rule) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		if d := cmp.Diff(want, rules(t, k, v6)); d != "" {
			t.Errorf("%s: rules, IPv6 %v (-want +got):\n%s", what, v6, d)
		}
	}
}

func TestRulesComeFirstAndLast(t *testing.T) {
	r := newRig(t)
	w := r.check(shop())
	want := []string{
		"add rule IPv4 1: l3mdev", "add rule IPv4 2: 255", "delete rule IPv4 0: 255",
		"add rule IPv6 1: l3mdev", "add rule IPv6 2: 255", "delete rule IPv6 0: 255", "add vrf bgwv1",
	}
	if d := cmp.Diff(want, w[:len(want)]); d != "" {
		t.Errorf("first writes (-want +got):\n%s", d)
	}
	wantRules(t, "applied", r.kernel.Outside(), l3mdev(1, 201), local(2, kernelMade))
	if err := r.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	w = r.kernel.TakeWrites()
	want = []string{
		"add rule IPv4 0: 255", "delete rule IPv4 1: l3mdev", "delete rule IPv4 2: 255",
		"add rule IPv6 0: 255", "delete rule IPv6 1: l3mdev", "delete rule IPv6 2: 255",
	}
	if d := cmp.Diff(want, w[len(w)-len(want):]); d != "" {
		t.Errorf("last writes (-want +got):\n%s", d)
	}
	wantRules(t, "removed", r.kernel.Outside(), local(0, kernelMade))
	r.check(shop())
	wantRules(t, "applied again", r.kernel.Outside(), l3mdev(1, 201), local(2, kernelMade))
}

func TestRulesFromAnyStart(t *testing.T) {
	stock := local(0, kernelMade)
	ours := []netlink.Rule{l3mdev(1, 201), local(2, kernelMade)}
	tests := []struct {
		name       string
		have, want []netlink.Rule
		conflict   bool
	}{
		{"other software's", []netlink.Rule{stock, table(3, boot, 7), special(100), special(220)},
			append(slices.Clone(ours), table(3, boot, 7), special(100), special(220)), false},
		{"done before", ours, ours, false},
		{"interrupted before the first deletion", append([]netlink.Rule{stock}, ours...), ours, false},
		{"interrupted after the first addition", []netlink.Rule{stock, ours[0]}, ours, false},
		{"put back by hand", append([]netlink.Rule{local(0, boot)}, ours...), ours, false},
		{"twice there", []netlink.Rule{stock, local(0, boot)}, ours, false},
		{"first of ours deleted", ours[1:], ours, false},
		{"second of ours deleted", ours[:1], ours, false},
		{"nothing left", nil, ours, false},
		{"moved by hand", []netlink.Rule{special(100), local(32765, boot)},
			[]netlink.Rule{ours[0], special(100), local(32765, boot)}, false},
		{"a second one far behind", []netlink.Rule{stock, local(32765, boot)}, append(slices.Clone(ours), local(32765, boot)), false},
		{"the same, by another program", []netlink.Rule{l3mdev(1, boot), local(2, boot)}, []netlink.Rule{l3mdev(1, boot), local(2, boot)}, false},
		{"conditions before all", []netlink.Rule{stock, special(0)}, nil, true},
		{"first place taken", []netlink.Rule{stock, table(1, boot, 100)}, nil, true},
		{"second place taken", []netlink.Rule{stock, special(2)}, nil, true},
		{"second place taken by l3mdev", []netlink.Rule{stock, l3mdev(2, boot)}, nil, true},
		{"shared place", []netlink.Rule{stock, l3mdev(1, 201), special(1), local(2, kernelMade)}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			// IPv4 is as the test says, IPv6 as it comes.
			if err := r.kernel.Outside().DeleteRule(stock); err != nil {
				t.Fatal(err)
			}
			for _, x := range tt.have {
				r.kernel.AddPolicyRule(x)
			}
			for range 2 {
				res, err := r.Apply(t.Context(), shop())
				if err != nil {
					t.Fatal(err)
				}
				if got := res.Errors[link.ObjectRules]; errors.Is(got, link.ErrConflict) != tt.conflict || (got != nil) != tt.conflict {
					t.Errorf("rules: %v, want conflict %v", got, tt.conflict)
				}
				if len(res.Errors) > 1 || !res.Interfaces["shop-1"].OperUp || !res.Members["vpc0"].Enslaved {
					t.Errorf("the gateway suffers: %+v", res)
				}
				want := tt.want
				if tt.conflict {
					want = tt.have
				}
				if d := cmp.Diff(want, rules(t, r.kernel.Outside(), false)); d != "" {
					t.Errorf("IPv4 rules (-want +got):\n%s", d)
				}
				if d := cmp.Diff(ours, rules(t, r.kernel.Outside(), true)); d != "" {
					t.Errorf("IPv6 rules (-want +got):\n%s", d)
				}
				r.Invalidate("")
			}
		})
	}
}

// What another program does to the rules is repaired by whichever gateway's round comes first.
func TestRulesAreWatched(t *testing.T) {
	for name, do := range map[string]func(netlink.Kernel) error{
		"stock rule put back": func(k netlink.Kernel) error { return k.AddRule(local(0, boot)) },
		"l3mdev deleted":      func(k netlink.Kernel) error { return k.DeleteRule(l3mdev(1, 201)) },
		"local deleted":       func(k netlink.Kernel) error { return k.DeleteRule(local(2, kernelMade)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.check(shop())
			behind := table(100, boot, 7)
			r.kernel.AddPolicyRule(behind)
			behind.IPv6 = true
			r.kernel.AddPolicyRule(behind)
			if err := do(r.kernel.Outside()); err != nil {
				t.Fatal(err)
			}
			want := dataplane.Hint{Kind: dataplane.Changed, Object: link.ObjectRules, Reason: "routing rules changed"}
			if h := <-r.hints; h != want { // the first: neither own rules nor those behind ours are news
				t.Errorf("hint %+v", h)
			}
			r.check(shop())
			wantRules(t, "repaired", r.kernel.Outside(), l3mdev(1, 201), local(2, kernelMade), table(100, boot, 7))
		})
	}
}

func TestRulesStayWhileThereAreVRFs(t *testing.T) {
	ours := []netlink.Rule{l3mdev(1, 201), local(2, kernelMade)}
	r := newRig(t)
	other := link.Gateway{Name: "other", VRF: "bgwv2", Table: 100002}
	r.apply(shop())
	r.apply(other)
	if err := r.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	wantRules(t, "one of two removed", r.kernel.Outside(), ours...)
	if err := r.kernel.Outside().AddVRF("corp", 5); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	wantRules(t, "a foreign VRF left", r.kernel.Outside(), ours...)
	if err := r.kernel.Outside().DeleteLink(r.index("corp")); err != nil {
		t.Fatal(err)
	}
	// A process that knows of no gateway.
	if err := newDriver(r.kernel).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRules(t, "swept", r.kernel.Outside(), local(0, kernelMade))
}

// faulty arms a fault before one of the calls that concern rules, and sees to it that the host is never without a rule
// for its own addresses.
type faulty struct {
	netlink.Kernel
	t      *testing.T
	kernel *netlinktest.Kernel
	fault  netlinktest.Fault
	in     int // calls until then
}

func (f *faulty) next() {
	if f.in--; f.in == 0 {
		f.kernel.Arm(f.fault)
	}
}

func (f *faulty) Rules(v6 bool) ([]netlink.Rule, error) {
	f.next()
	return f.Kernel.Rules(v6)
}

func (f *faulty) AddRule(r netlink.Rule) error {
	f.next()
	return f.Kernel.AddRule(r)
}

func (f *faulty) DeleteRule(r netlink.Rule) error {
	f.next()
	err := f.Kernel.DeleteRule(r)
	list := rules(f.t, f.kernel.Outside(), r.IPv6)
	if !slices.ContainsFunc(list, func(r netlink.Rule) bool { return r.Table == netlink.LocalTable }) {
		f.t.Error("the host has no rule for its own addresses")
	}
	return err
}

func TestRulesUnderFaults(t *testing.T) {
	for _, fault := range []netlinktest.Fault{
		netlinktest.InterruptDump, netlinktest.WriteEEXIST, netlinktest.WriteENODEV, netlinktest.WriteEINTR,
		netlinktest.WriteUnacknowledged,
	} {
		for at := 1; ; at++ {
			f := &faulty{t: t, fault: fault, in: at}
			t.Run(fmt.Sprintf("%s at call %d", fault, at), func(t *testing.T) { f.t = t; f.life() })
			if f.in > 0 {
				if at < 16 {
					t.Errorf("only %d calls", at-1)
				}
				break
			}
		}
	}
}

func (f *faulty) life() {
	f.kernel = netlinktest.New(f.t)
	f.kernel.AddDevice("eth0")
	f.kernel.AddDevice("vpc0")
	f.Kernel = f.kernel
	d := link.New(f, f.kernel.SysctlRoot(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	attempts := func(what string, try func(context.Context) error) {
		for range 3 {
			if try(f.t.Context()) == nil {
				return
			}
		}
		f.t.Errorf("%s: does not succeed", what)
	}
	attempts("Apply", func(ctx context.Context) error {
		res, err := d.Apply(ctx, shop())
		return errors.Join(err, res.Errors[link.ObjectRules])
	})
	wantRules(f.t, "applied", f.kernel.Outside(), l3mdev(1, 201), local(2, kernelMade))
	attempts("Remove", func(ctx context.Context) error { return d.Remove(ctx, "shop") })
	attempts("Sweep", d.Sweep)
	wantRules(f.t, "removed", f.kernel.Outside(), local(0, kernelMade))
}
