package link

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// The routing rules of each family. The kernel looks for the host's own addresses first (rule 0) and in a VRF's table
// later (rule 1000, made with the first VRF): a tenant's packet to an address that the host happens to have would end at
// the host. With these rules the table of the VRF comes first and the host's own addresses second, and whatever else there
// is stays behind both. Documentation/networking/vrf.rst moves the local table to the end instead, which would put other
// programs' rules before it.
//
// A lookup in a VRF never goes on to the local table: it ends at the guard routes. The addresses of a VRF's members are
// local routes of the VRF's own table (fib_magic in net/ipv4/fib_frontend.c, addrconf_f6i_alloc in net/ipv6/route.c).
// Packets outside of VRFs do not match the first rule (l3mdev_fib_rule_match).
const (
	// PriorityL3mdev is the priority of the rule for packets in a VRF. Its protocol is RuleProtocol.
	PriorityL3mdev = 1
	// PriorityLocal is the priority of the host's own local rule, moved from 0. It stays of the kernel's protocol, as
	// programs that delete rules which are not theirs spare those: without it the host would not answer at all.
	PriorityLocal = 2
	// RuleProtocol is the protocol of rules that bordergw adds.
	RuleProtocol = 201
)

func l3mdevRule(v6 bool) netlink.Rule {
	return netlink.Rule{IPv6: v6, Priority: PriorityL3mdev, Protocol: RuleProtocol, L3mdev: true}
}

// localRule is the one that every namespace starts with, at a priority.
func localRule(v6 bool, priority uint32) netlink.Rule {
	return netlink.Rule{IPv6: v6, Priority: priority, Protocol: netlink.ProtocolKernel, Table: netlink.LocalTable}
}

// does tells whether a rule does the same as another at the same place, whoever made it.
func does(r, other netlink.Rule) bool {
	r.Protocol = other.Protocol
	return r == other
}

func among(rules []netlink.Rule, r netlink.Rule) bool {
	return slices.ContainsFunc(rules, func(o netlink.Rule) bool { return does(o, r) })
}

// families are those the kernel has, as the values of Rule.IPv6.
func (d *Driver) families() []bool {
	if d.sysctls.ipv6() {
		return []bool{false, true}
	}
	return []bool{false}
}

func familyName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// doubtRules has the next Apply look at the rules again.
func (d *Driver) doubtRules() {
	d.rulesMu.Lock()
	defer d.rulesMu.Unlock()
	d.rulesGood = false
}

func (d *Driver) trustsRules() bool {
	d.rulesMu.Lock()
	defer d.rulesMu.Unlock()
	return d.rulesGood
}

// ensureRules puts the rules of both families in order, unless they are known to be.
func (d *Driver) ensureRules() error {
	d.rulesMu.Lock()
	defer d.rulesMu.Unlock()
	if d.rulesGood {
		return nil
	}
	var errs []error
	for _, v6 := range d.families() {
		if err := d.orderRules(v6); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", familyName(v6), err))
		}
	}
	d.rulesGood = len(errs) == 0
	return errors.Join(errs...)
}

// orderRules puts the rules of one family in order: it adds first, sees that what it added is there, and deletes then, so
// that at no time a packet to the host finds no rule.
func (d *Driver) orderRules(v6 bool) error {
	have, err := d.kernel.Rules(v6)
	if err != nil {
		return err
	}
	stock := localRule(v6, 0)
	want := []netlink.Rule{l3mdevRule(v6), localRule(v6, PriorityLocal)}
	for _, r := range have {
		if r.Priority <= PriorityLocal && !does(r, stock) && !among(want, r) {
			return fmt.Errorf("%w: rule %d of protocol %d in the place of those that keep tenants' addresses from the host's",
				ErrConflict, r.Priority, r.Protocol)
		}
	}
	elsewhere := slices.ContainsFunc(have, func(r netlink.Rule) bool {
		return r.Priority > PriorityLocal && does(r, localRule(v6, r.Priority))
	})
	if elsewhere && !among(have, stock) {
		want = want[:1] // an administrator has moved it: nothing is to be moved, and its place is theirs to choose
	}
	if have, err = d.addRules(have, want); err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		if does(r, stock) {
			errs = append(errs, d.deleteRule(r))
		}
	}
	return errors.Join(errs...)
}

// addRules adds what is missing and returns the rules that are there then; an error when what is wanted is not among them.
func (d *Driver) addRules(have, want []netlink.Rule) ([]netlink.Rule, error) {
	missing := slices.DeleteFunc(slices.Clone(want), func(r netlink.Rule) bool { return among(have, r) })
	if len(missing) == 0 {
		return have, nil
	}
	var errs []error
	for _, r := range missing {
		if err := d.kernel.AddRule(r); err != nil {
			errs = append(errs, fmt.Errorf("add rule %d: %w", r.Priority, err))
		}
	}
	have, err := d.kernel.Rules(missing[0].IPv6)
	if err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	for _, r := range missing {
		if !among(have, r) {
			return nil, errors.Join(append(errs, fmt.Errorf("rule %d is not there", r.Priority))...)
		}
	}
	return have, nil
}

func (d *Driver) deleteRule(r netlink.Rule) error {
	if err := d.kernel.DeleteRule(r); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete rule %d: %w", r.Priority, err)
	}
	return nil
}

// restoreRules gives the kernel's order back when there is no VRF left, and none to come. Rules that stay by mistake do
// no harm: without VRFs they mean the same.
func (d *Driver) restoreRules() error {
	d.rulesMu.Lock()
	defer d.rulesMu.Unlock()
	d.mu.Lock()
	wanted := len(d.tables) > 0
	d.mu.Unlock()
	if wanted {
		return nil // one that comes later waits for rulesMu, and then finds that the order is not good
	}
	links, err := d.kernel.Links()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Kind == netlink.KindVRF }) {
		return nil
	}
	d.rulesGood = false
	var errs []error
	for _, v6 := range d.families() {
		if err := d.unorderRules(v6); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", familyName(v6), err))
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) unorderRules(v6 bool) error {
	have, err := d.kernel.Rules(v6)
	if err != nil {
		return err
	}
	moved := localRule(v6, PriorityLocal)
	if slices.Contains(have, moved) {
		if have, err = d.addRules(have, []netlink.Rule{localRule(v6, 0)}); err != nil {
			return err
		}
	}
	var errs []error
	for _, r := range have {
		if r == moved || r == l3mdevRule(v6) {
			errs = append(errs, d.deleteRule(r))
		}
	}
	return errors.Join(errs...)
}

// rulesChanged tells whether an event casts doubt on the order.
func rulesChanged(e netlink.Event) bool {
	return !e.Own && (e.Kind == netlink.RuleNew || e.Kind == netlink.RuleGone) &&
		(e.Rule.Priority <= PriorityLocal || does(e.Rule, localRule(e.Rule.IPv6, e.Rule.Priority)))
}
