package netlinktest

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// initialRules are those of a new namespace (fib_default_rules_init and fib6_rules_net_init).
func initialRules() map[bool][]netlink.Rule {
	rule := func(v6 bool, priority, table uint32) netlink.Rule {
		return netlink.Rule{IPv6: v6, Priority: priority, Protocol: unix.RTPROT_KERNEL, Table: table}
	}
	return map[bool][]netlink.Rule{
		false: {
			rule(false, 0, unix.RT_TABLE_LOCAL), rule(false, 32766, unix.RT_TABLE_MAIN), rule(false, 32767, unix.RT_TABLE_DEFAULT),
		},
		true: {rule(true, 0, unix.RT_TABLE_LOCAL), rule(true, 32766, unix.RT_TABLE_MAIN)},
	}
}

// AddPolicyRule adds a rule of the machine, also one with conditions, as an administrator would.
func (k *Kernel) AddPolicyRule(r netlink.Rule) {
	k.mu.Lock()
	defer k.mu.Unlock()
	view{k: k}.insertRule(r)
}

// insertRule is the end of fib_nl_newrule: behind those of the same priority.
func (v view) insertRule(r netlink.Rule) {
	list := v.k.rules[r.IPv6]
	at := len(list)
	if i := slices.IndexFunc(list, func(o netlink.Rule) bool { return o.Priority > r.Priority }); i >= 0 {
		at = i
	}
	v.k.rules[r.IPv6] = slices.Insert(list, at, r)
	v.emit(netlink.Event{Kind: netlink.RuleNew, Rule: r})
}

// vrfRules is drivers/net/vrf.c's vrf_add_fib_rules: once, with the namespace's first VRF.
func (v view) vrfRules() {
	if v.k.vrfRules {
		return
	}
	v.k.vrfRules = true
	for _, v6 := range []bool{false, true} {
		view{k: v.k}.insertRule(netlink.Rule{IPv6: v6, Priority: 1000, Protocol: unix.RTPROT_KERNEL, L3mdev: true})
	}
}

// Rules implements [netlink.Kernel].
func (v view) Rules(v6 bool) ([]netlink.Rule, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	return interrupted(v, slices.Clone(v.k.rules[v6]))
}

// changeRule runs one write on the rules. A rule is identified by all of it.
func (v view) changeRule(what string, r netlink.Rule, apply func(at int) error) error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	effect, failure := v.write("%s rule %s", what, ruleText(r))
	if !effect {
		return failure
	}
	if r.Other || r.L3mdev == (r.Table != 0) {
		return fmt.Errorf("%w: %s", unix.EINVAL, ruleText(r))
	}
	if err := apply(slices.Index(v.k.rules[r.IPv6], r)); err != nil {
		return err
	}
	return failure
}

func ruleText(r netlink.Rule) string {
	family, table := "IPv4", fmt.Sprint(r.Table)
	if r.IPv6 {
		family = "IPv6"
	}
	if r.L3mdev {
		table = "l3mdev"
	}
	return fmt.Sprintf("%s %d: %s", family, r.Priority, table)
}

// AddRule implements [netlink.Kernel].
func (v view) AddRule(r netlink.Rule) error {
	return v.changeRule("add", r, func(at int) error {
		if at >= 0 {
			return unix.EEXIST
		}
		v.insertRule(r)
		return nil
	})
}

// DeleteRule implements [netlink.Kernel].
func (v view) DeleteRule(r netlink.Rule) error {
	return v.changeRule("delete", r, func(at int) error {
		if at < 0 {
			return unix.ENOENT
		}
		v.k.rules[r.IPv6] = slices.Delete(v.k.rules[r.IPv6], at, at+1)
		v.emit(netlink.Event{Kind: netlink.RuleGone, Rule: r})
		return nil
	})
}
