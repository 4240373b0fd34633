package apiv1

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// AdmitOptions is what the rules depend on besides the objects. The zero value holds what is true everywhere.
type AdmitOptions struct {
	// Owns says whether the host that asks owns a cloud address. Rules about one host then hold for all of its tunnels; nil (a
	// controller, bordergwctl) and for other hosts they hold for the tunnels of each cloud address.
	Owns func(netip.Addr) bool
	// Host names the host of a cloud address for a caller that knows all hosts; empty for an address of none. It is used where Owns
	// is nil.
	Host func(netip.Addr) string
	// Manifests: no controller allocates inside addresses and generates keys, so both are required.
	Manifests bool
	// MLKEM says whether charon can do the hybrid key exchange; CapabilityUnknown refuses nothing.
	MLKEM Capability
	// HostMLKEM says the same of the host of a cloud address, for a caller that knows all hosts. It is used where Owns is nil.
	HostMLKEM func(netip.Addr) Capability
	// Quotas; fields that are zero stand for the default.
	Quotas Quotas
	// Underlay is the device that the encrypted packets use; no attachment may take it. Empty when it is not known.
	Underlay string
}

// Quotas bounds the number of objects.
type Quotas struct {
	BorderGateways, CustomerGateways, ConnectionsPerGateway, StaticRoutesPerGateway int
	BGPRoutesPerGateway, AttachmentsPerGateway, AddressesPerCustomerGateway         int
}

// DefaultQuotas returns the quotas that hold where none is configured.
func DefaultQuotas() Quotas {
	return Quotas{
		BorderGateways: 5, CustomerGateways: 10, ConnectionsPerGateway: 10, StaticRoutesPerGateway: 50,
		BGPRoutesPerGateway: 300, AttachmentsPerGateway: 50, AddressesPerCustomerGateway: 4,
	}
}

// QuotasOf returns the configured quotas; a nil message or a zero field stands for the default.
func QuotasOf(c *QuotaConfig) Quotas {
	return Quotas{
		BorderGateways: int(c.GetBorderGateways()), CustomerGateways: int(c.GetCustomerGateways()),
		ConnectionsPerGateway: int(c.GetConnectionsPerGateway()), StaticRoutesPerGateway: int(c.GetStaticRoutesPerGateway()),
		BGPRoutesPerGateway: int(c.GetBgpRoutesPerGateway()), AttachmentsPerGateway: int(c.GetAttachmentsPerGateway()),
		AddressesPerCustomerGateway: int(c.GetAddressesPerCustomerGateway()),
	}.withDefaults()
}

func (q Quotas) withDefaults() Quotas {
	d := DefaultQuotas()
	return Quotas{
		BorderGateways:              cmp.Or(q.BorderGateways, d.BorderGateways),
		CustomerGateways:            cmp.Or(q.CustomerGateways, d.CustomerGateways),
		ConnectionsPerGateway:       cmp.Or(q.ConnectionsPerGateway, d.ConnectionsPerGateway),
		StaticRoutesPerGateway:      cmp.Or(q.StaticRoutesPerGateway, d.StaticRoutesPerGateway),
		BGPRoutesPerGateway:         cmp.Or(q.BGPRoutesPerGateway, d.BGPRoutesPerGateway),
		AttachmentsPerGateway:       cmp.Or(q.AttachmentsPerGateway, d.AttachmentsPerGateway),
		AddressesPerCustomerGateway: cmp.Or(q.AddressesPerCustomerGateway, d.AddressesPerCustomerGateway),
	}
}

// Admit checks a Set, defaults already filled in, against every rule that can be told from the Set alone. The findings carry the
// object ("VPNTunnel/shop-1") and the field's path, and never a secret; they come in a fixed order. A Set with none but warnings
// is admitted: every reference leads somewhere, every address, prefix, identity and proposal parses, and every text is in the
// one canonical form, so that texts may be compared.
func Admit(set *Set, opts AdmitOptions) []*Finding {
	opts.Quotas = opts.Quotas.withDefaults()
	c := &checker{set: set, opts: opts}
	c.quotas()
	for _, name := range Names(set.BorderGateways) {
		c.borderGateway(name, set.BorderGateways[name])
	}
	c.sharedInterfaces()
	for _, name := range Names(set.CustomerGateways) {
		c.customerGateway(name, set.CustomerGateways[name])
	}
	for _, name := range Names(set.Connections) {
		c.connection(name, set.Connections[name])
	}
	for _, name := range Names(set.Tunnels) {
		c.tunnel(name, set.Tunnels[name])
	}
	c.insideOverlaps()
	c.identities()
	return c.out
}

// Refused says whether there is a finding that is not a warning.
func Refused(findings []*Finding) bool {
	return slices.ContainsFunc(findings, func(f *Finding) bool { return !f.GetWarning() })
}

type checker struct {
	set  *Set
	opts AdmitOptions
	out  []*Finding
}

// scope is one object under examination.
type scope struct {
	c      *checker
	object string
}

func (c *checker) at(kind, name string) scope { return scope{c, ObjectName(kind, name)} }

// ObjectName returns how findings name an object: "VPNTunnel/shop-1".
func ObjectName(kind, name string) string { return kind + "/" + name }

func (s scope) fail(field, format string, args ...any) {
	s.c.out = append(s.c.out, &Finding{Object: s.object, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (s scope) warn(field, format string, args ...any) {
	s.c.out = append(s.c.out, &Finding{Object: s.object, Field: field, Message: fmt.Sprintf(format, args...), Warning: true})
}

// word checks a value of a closed set.
func (s scope) word(field, value string, words ...string) {
	switch {
	case value == "":
		s.fail(field, "is required: %s", strings.Join(words, " or "))
	case !slices.Contains(words, value):
		s.fail(field, "must be %s, not %q", strings.Join(words, " or "), value)
	}
}

// number checks a value that must lie between two bounds, both allowed.
func (s scope) number(field string, value, low, high uint64, unit string) {
	if value < low || value > high {
		s.fail(field, "must be between %d and %d%s, not %d", low, high, unit, value)
	}
}

// hostKey names the host of a cloud address as far as the caller can tell hosts apart.
func (c *checker) hostKey(cloud netip.Addr) string {
	if c.opts.Owns != nil && c.opts.Owns(cloud) {
		return "this host"
	}
	if c.opts.Owns == nil && c.opts.Host != nil {
		if name := c.opts.Host(cloud); name != "" {
			return "host " + name
		}
	}
	return "cloud address " + cloud.String()
}

// ownedHere says whether a tunnel concerns the host that asks; a caller without a host is concerned with all.
func (c *checker) ownedHere(t *VPNTunnel) bool {
	if c.opts.Owns == nil {
		return true
	}
	addr, err := netip.ParseAddr(t.GetSpec().GetCloudAddress())
	return err == nil && c.opts.Owns(addr)
}

func (c *checker) quotas() {
	tooMany(c, KindBorderGateway, Names(c.set.BorderGateways), c.opts.Quotas.BorderGateways)
	tooMany(c, KindCustomerGateway, Names(c.set.CustomerGateways), c.opts.Quotas.CustomerGateways)
}

func tooMany(c *checker, kind string, names []string, quota int) {
	if len(names) > quota {
		c.at(kind, names[quota]).fail("", "is one too many: the quota is %d %ss, there are %d", quota, kind, len(names))
	}
}
