package charon

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// ikeSA is one IKE_SA as last reported. Field names on the wire are those of list_ike() in strongSwan's vici_query.c.
type ikeSA struct {
	id            uint32
	state         string
	version       int
	initiator     bool
	initiatorSPI  string
	local, remote netip.AddrPort
	localID       string
	remoteID      string
	natt          bool
	suite         Suite

	// stale: negotiated with settings that were replaced since. doubted: to be replaced because packets do not come through.
	stale, doubted bool
	// seen is the listing in which it was last confirmed, by the listing itself or by an event.
	seen uint64
	// since is when it was first reported.
	since time.Time
}

func (s *ikeSA) established() bool { return s.state == "ESTABLISHED" || s.state == "REKEYING" }

func (s *ikeSA) connecting() bool { return s.state == "CREATED" || s.state == "CONNECTING" }

// childSA is one CHILD_SA as last reported.
type childSA struct {
	ChildSA
	// live: in the set that makes the tunnel UP. Others are kept only for what they still count.
	live           bool
	stale, doubted bool
	seen           uint64
	// missed: the last listing was without it. replaced: an event has told of its rekeying.
	missed, replaced bool
	// since is when it was first reported.
	since time.Time
}

// parseIKE reads an IKE_SA, false when m has no unique id.
func parseIKE(m *vici.Message) (*ikeSA, bool) {
	id, ok := number(m, "uniqueid")
	if !ok || m == nil {
		return nil, false
	}
	version, _ := strconv.Atoi(m.Get("version"))
	return &ikeSA{
		id: id, state: m.Get("state"), version: version,
		initiator: m.Get("initiator") == "yes", initiatorSPI: m.Get("initiator-spi"),
		local: endpoint(m, "local"), remote: endpoint(m, "remote"),
		localID: m.Get("local-id"), remoteID: m.Get("remote-id"),
		natt: m.Get("nat-any") == "yes", suite: parseSuite(m),
	}, true
}

// parseChild reads a CHILD_SA that belongs to the IKE_SA ike.
func parseChild(m *vici.Message, ike uint32, now time.Time) (*childSA, bool) {
	id, ok := number(m, "uniqueid")
	if !ok {
		return nil, false
	}
	state := m.Get("state")
	ifID, _ := strconv.ParseUint(m.Get("if-id-in"), 16, 32)
	c := &childSA{ChildSA: ChildSA{
		UniqueID: id, IKEUniqueID: ike, State: state, IfID: uint32(ifID), SPIIn: m.Get("spi-in"), SPIOut: m.Get("spi-out"),
		Suite: parseSuite(m), Encap: m.Get("encap") == "yes",
		Traffic: Traffic{
			BytesIn: counter(m, "bytes-in"), BytesOut: counter(m, "bytes-out"),
			PacketsIn: counter(m, "packets-in"), PacketsOut: counter(m, "packets-out"),
		},
		Installed: now.Add(-time.Duration(counter(m, "install-time")) * time.Second).Truncate(time.Second),
	}}
	// UPDATING is a moment during which addresses of an installed SA change.
	switch state {
	case "INSTALLED", "UPDATING":
		c.State, c.live = "INSTALLED", true
	case "REKEYING":
		c.live = true
	}
	return c, true
}

func parseSuite(m *vici.Message) Suite {
	s := Suite{
		Encryption: m.Get("encr-alg"), Integrity: m.Get("integ-alg"), PRF: m.Get("prf-alg"), DH: m.Get("dh-group"),
		ESN: m.Get("esn") == "1" || m.Get("esn") == "yes",
	}
	s.KeySize, _ = strconv.Atoi(m.Get("encr-keysize"))
	for i := 1; i <= 7; i++ {
		if ke := m.Get("ake" + strconv.Itoa(i)); ke != "" {
			s.KE = append(s.KE, "KE"+strconv.Itoa(i)+"_"+ke)
		}
	}
	return s
}

func endpoint(m *vici.Message, side string) netip.AddrPort {
	addr, err := netip.ParseAddr(m.Get(side + "-host"))
	if err != nil {
		return netip.AddrPort{}
	}
	port, _ := strconv.ParseUint(m.Get(side+"-port"), 10, 16)
	return netip.AddrPortFrom(addr, uint16(port))
}

func number(m *vici.Message, key string) (uint32, bool) {
	n, err := strconv.ParseUint(m.Get(key), 10, 32)
	return uint32(n), err == nil
}

func counter(m *vici.Message, key string) uint64 {
	n, _ := strconv.ParseUint(m.Get(key), 10, 63)
	return n
}

// ours strips the prefix from a connection's name, false for foreign ones.
func ours(conn string) (tunnel string, ok bool) {
	tunnel, ok = strings.CutPrefix(conn, Prefix)
	return tunnel, ok && tunnel != ""
}
