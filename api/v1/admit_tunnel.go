package apiv1

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bordergw/bordergw/internal/secret"
)

const (
	day = 24 * time.Hour
	// maxMD5Key is the kernel's TCP_MD5SIG_MAXKEYLEN.
	maxMD5Key = 80
	// maxDPD is less than charon's own patience with a peer that does not answer, which is the same for all tunnels.
	maxDPD = 2 * time.Minute
)

func (c *checker) tunnel(name string, t *VPNTunnel) {
	s, spec := c.at(KindVPNTunnel, name), t.GetSpec()
	s.name("name", name)
	s.description(spec.GetDescription())
	c.outer(s, spec)
	s.identity("spec.localId", spec.GetLocalId())
	s.identity("spec.remoteId", spec.GetRemoteId())
	c.inside(s, spec)
	s.word("spec.adminState", spec.GetAdminState(), AdminStateUp, AdminStateDown)
	s.word("spec.initiation", spec.GetInitiation(), InitiationAlways, InitiationRespond)
	c.psk(s, name, spec.GetPsk())
	c.ike(s, t)
	c.esp(s, spec)
	s.dpd(spec.GetDpd())
	s.probe(spec.GetProbe())
	c.bgp(s, name, spec.GetBgp())
	s.sizes(spec)
}

// outer checks the connection and the two outer addresses.
func (c *checker) outer(s scope, spec *VPNTunnelSpec) {
	conn := c.set.Connections[spec.GetConnection()]
	s.reference("spec.connection", KindVPNConnection, spec.GetConnection(), conn != nil)
	cloud, okCloud := s.outerAddr("spec.cloudAddress", spec.GetCloudAddress())
	customer, okCustomer := s.outerAddr("spec.customerAddress", spec.GetCustomerAddress())
	if okCloud && okCustomer && cloud.Is4() != customer.Is4() {
		s.fail("spec.customerAddress", "must be of the family of cloudAddress (%s), not %s", cloud, customer)
	}
	if conn == nil {
		return
	}
	if okCloud && !slices.Contains(conn.GetSpec().GetCloudAddresses(), spec.GetCloudAddress()) {
		s.fail("spec.cloudAddress", "%s is not a cloud address of VPNConnection %q (%s)",
			cloud, spec.GetConnection(), strings.Join(conn.GetSpec().GetCloudAddresses(), ", "))
	}
	customerName := conn.GetSpec().GetCustomerGateway()
	if gw, ok := c.set.CustomerGateways[customerName]; ok && okCustomer && !slices.Contains(gw.GetSpec().GetAddresses(), spec.GetCustomerAddress()) {
		s.fail("spec.customerAddress", "%s is not an address of CustomerGateway %q (%s)",
			customer, customerName, strings.Join(gw.GetSpec().GetAddresses(), ", "))
	}
}

// psk: 8 to 64 printable characters from exactly one source. A value that was read is in the Set and no longer in the message.
func (c *checker) psk(s scope, name string, source *SecretSource) {
	key := c.set.PSK(name)
	n := sources(source)
	switch {
	case n > 1:
		s.fail("spec.psk", "must have exactly one of value, file, env and sealed")
	case n == 0 && !key.IsSet() && (c.opts.Manifests || source != nil):
		s.fail("spec.psk", "is required: one of value, file, env and sealed")
	case key.IsSet() && !printable(key, 8, 64):
		s.fail("spec.psk", "must be 8 to 64 printable characters")
	}
}

func (s scope) password(field string, source *SecretSource, value secret.Secret) {
	n := sources(source)
	switch {
	case source == nil:
	case n > 1 || n == 0 && !value.IsSet():
		s.fail(field, "must have exactly one of value, file, env and sealed")
	case value.IsSet() && !printable(value, 1, maxMD5Key):
		s.fail(field, "must be 1 to %d printable characters", maxMD5Key)
	}
}

func sources(source *SecretSource) int {
	n := 0
	for _, set := range []bool{source.GetValue() != "", source.GetFile() != "", source.GetEnv() != "", len(source.GetSealed()) > 0} {
		if set {
			n++
		}
	}
	return n
}

func printable(s secret.Secret, low, high int) bool {
	text := s.Reveal()
	return len(text) >= low && len(text) <= high && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

func (s scope) dpd(dpd *DPD) {
	s.duration("spec.dpd.interval", dpd.GetInterval(), time.Second, maxDPD, time.Second)
	s.duration("spec.dpd.timeout", dpd.GetTimeout(), time.Second, maxDPD, time.Second)
	if dpd.GetInterval().AsDuration() >= dpd.GetTimeout().AsDuration() {
		s.fail("spec.dpd.timeout", "must be longer than dpd.interval (%s), not %s",
			short(dpd.GetInterval().AsDuration()), short(dpd.GetTimeout().AsDuration()))
	}
}

func (s scope) probe(p *Probe) {
	s.word("spec.probe.mode", p.GetMode(), ProbeModeAuto, ProbeModeOn, ProbeModeOff)
	s.duration("spec.probe.interval", p.GetInterval(), 100*time.Millisecond, time.Minute, time.Millisecond)
	s.number("spec.probe.failures", uint64(p.GetFailures()), 1, 100, "")
}

func (c *checker) bgp(s scope, name string, b *BGP) {
	s.duration("spec.bgp.keepalive", b.GetKeepalive(), time.Second, 21845*time.Second, time.Second)
	s.duration("spec.bgp.hold", b.GetHold(), 3*time.Second, 65535*time.Second, time.Second)
	if b.GetKeepalive().AsDuration() >= b.GetHold().AsDuration() {
		s.fail("spec.bgp.hold", "must be longer than bgp.keepalive (%s), not %s",
			short(b.GetKeepalive().AsDuration()), short(b.GetHold().AsDuration()))
	}
	s.password("spec.bgp.password", b.GetPassword(), c.set.BGPPassword(name))
	s.duration("spec.bgp.bfd.interval", b.GetBfd().GetInterval(), 50*time.Millisecond, time.Minute, time.Millisecond)
	s.number("spec.bgp.bfd.multiplier", uint64(b.GetBfd().GetMultiplier()), 1, 255, "")
	if quota := uint64(c.opts.Quotas.BGPRoutesPerGateway); uint64(b.GetMaxPrefixes()) > quota {
		s.fail("spec.bgp.maxPrefixes", "must be at most %d, the quota of BGP routes of a BorderGateway, not %d", quota, b.GetMaxPrefixes())
	}
	s.number("spec.bgp.prepend", uint64(b.GetPrepend()), 0, 16, "")
}

// sizes checks MTU (at least what the inner family demands: RFC 791, RFC 8200), MSS and the replay window.
func (s scope) sizes(spec *VPNTunnelSpec) {
	least, header := uint64(576), uint32(40)
	if strings.Contains(spec.GetInside().GetCloud(), ":") {
		least, header = 1280, 60
	}
	if spec.GetMtu() != 0 {
		s.number("spec.mtu", uint64(spec.GetMtu()), least, 9216, " bytes")
	}
	if spec.GetMss() != 0 {
		s.number("spec.mss", uint64(spec.GetMss()), least-uint64(header), 9216-uint64(header), " bytes")
		if spec.GetMtu() != 0 && spec.GetMss()+header > spec.GetMtu() {
			s.fail("spec.mss", "must be at most %d with mtu %d, not %d", int64(spec.GetMtu())-int64(header), spec.GetMtu(), spec.GetMss())
		}
	}
	s.number("spec.replayWindow", uint64(spec.GetReplayWindow()), 0, 4096, " packets")
	if spec.GetReplayWindow() == 0 {
		s.warn("spec.replayWindow", "0 switches replay protection off")
	}
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
