package charontest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// Outcome is how a negotiation ends.
type Outcome int

// Outcomes, with what charon says about them.
const (
	// Up: IKE_SA and CHILD_SA are established.
	Up Outcome = iota
	// Hang: the IKE_SA stays in CONNECTING and nothing is said.
	Hang
	// Silent: charon gives up retransmitting; the log says so and no other event does.
	Silent
	// Vanish: the IKE_SA goes without a word.
	Vanish
	// BadKey: the peer answers AUTHENTICATION_FAILED.
	BadKey
	// BadChild: the IKE_SA is established and kept, the CHILD_SA refused with TS_UNACCEPTABLE.
	BadChild
)

type ikeSA struct {
	name, state string
	id          uint32
	conn        *connection
	initiator   bool
	gone        bool
	children    []*childSA
	// version of IKE; 0 means 2.
	version int
}

type childSA struct {
	id    uint32
	state string
	bytes uint64
	// used is when a packet last came in.
	used time.Time
	// ifID is that of the connection the SA was made from.
	ifID string
}

// negotiate ends an attempt at once with an outcome and says what charon says.
func (s *Server) negotiate(name string, conn *connection, outcome Outcome, initiator bool) {
	// An IKE_SA with the same settings is used again (ike_sa_manager's checkout_by_config).
	i := slices.IndexFunc(s.ikes, func(sa *ikeSA) bool { return sa.name == name && sa.conn == conn })
	var sa *ikeSA
	if i >= 0 {
		sa = s.ikes[i]
		if outcome == Up && len(sa.children) > 0 {
			s.log(sa, fmt.Sprintf("not establishing CHILD_SA %s{%d} due to existing duplicate {%d} with SPIs c_i d_o and TS 0.0.0.0/0 === 0.0.0.0/0",
				name, s.nextID, sa.children[0].id))
			return
		}
	} else {
		s.nextID++
		sa = &ikeSA{name: name, state: "CONNECTING", id: s.nextID, conn: conn, initiator: initiator}
		s.ikes = append(s.ikes, sa)
		if initiator {
			s.log(sa, fmt.Sprintf("initiating IKE_SA %s[%d] to 192.0.2.2", name, sa.id))
		}
	}
	if outcome == Up && !s.MLKEM && initiator && strings.Contains(conn.message.List("proposals")[0], "mlkem") {
		outcome = Vanish
	}
	if initiator && outcome == Up && s.PeerKey != nil && s.signsWith(conn) != s.PeerKey(name) {
		outcome = BadKey
	}
	switch outcome {
	case Up:
		s.establish(sa)
		s.addChild(sa)
	case Hang:
	case Silent:
		s.log(sa, "giving up after 5 retransmits")
		s.log(sa, "establishing IKE_SA failed, peer not responding")
		s.forget(sa)
	case Vanish:
		s.forget(sa)
	case BadKey:
		s.forget(sa)
		s.push("ike-updown", sa.message(false))
		s.log(sa, "received AUTHENTICATION_FAILED notify error")
	case BadChild:
		s.establish(sa)
		s.log(sa, "received TS_UNACCEPTABLE notify, no CHILD_SA built")
		s.log(sa, "failed to establish CHILD_SA, keeping IKE_SA")
	}
}

func (s *Server) establish(sa *ikeSA) {
	if sa.state == "ESTABLISHED" {
		return
	}
	sa.state = "ESTABLISHED"
	s.push("ike-updown", sa.message(false, "up", "yes"))
}

func (s *Server) addChild(sa *ikeSA) *childSA {
	s.nextID++
	ifID := ""
	if n, err := strconv.ParseUint(sa.conn.message.Get("if_id_in"), 0, 32); err == nil && n != 0 {
		ifID = fmt.Sprintf("%08x", n)
	}
	child := &childSA{id: s.nextID, state: "INSTALLED", ifID: ifID}
	sa.children = append(sa.children, child)
	s.push("child-updown", sa.childMessage(child, "up", "yes"))
	return child
}

func (s *Server) log(sa *ikeSA, text string) {
	s.push("log", new(vici.Message).Set("group", "IKE").Set("level", "1").Set("thread", "7").
		Set("ikesa-name", sa.name).Set("ikesa-uniqueid", strconv.FormatUint(uint64(sa.id), 10)).Set("msg", text))
}

// Log is a line about one IKE_SA of a connection, in charon's words.
func (s *Server) Log(name string, id uint32, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log(&ikeSA{name: name, id: id}, text)
}

func (s *Server) forget(sa *ikeSA) {
	sa.gone = true
	s.ikes = slices.DeleteFunc(s.ikes, func(x *ikeSA) bool { return x == sa })
}

// remove deletes an IKE_SA the way charon reports it: the IKE_SA first, then every child. One that was CONNECTING goes silently.
func (s *Server) remove(sa *ikeSA) {
	s.forget(sa)
	if sa.state == "CONNECTING" {
		return
	}
	sa.state = "DELETING"
	s.push("ike-updown", sa.message(false))
	for _, child := range sa.children {
		s.push("child-updown", sa.childMessage(child))
	}
}

func (s *Server) removeChild(sa *ikeSA, child *childSA) {
	sa.children = slices.DeleteFunc(sa.children, func(x *childSA) bool { return x == child })
	s.push("child-updown", sa.childMessage(child))
}

// PeerInitiates is a negotiation that the peer starts; the connection must be loaded. It returns the ids of the new SAs.
func (s *Server) PeerInitiates(name string) (ike, child uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn := s.conns[name]
	if conn == nil {
		return 0, 0
	}
	if s.PeerKey != nil && !s.agrees(name, conn) {
		return 0, 0
	}
	s.nextID++
	sa := &ikeSA{name: name, state: "CONNECTING", id: s.nextID, conn: conn}
	s.ikes = append(s.ikes, sa)
	s.establish(sa)
	return sa.id, s.addChild(sa).id
}

// signsWith returns the key that charon signs with: of those that fit the peer's identity the one loaded last.
func (s *Server) signsWith(conn *connection) string {
	for _, id := range slices.Backward(s.loads) {
		if secret, there := s.secrets[id]; there && slices.Contains(secret.Owners, conn.message.Section("remote").Get("id")) {
			return secret.Data
		}
	}
	return ""
}

// agrees plays a negotiation that the peer begins with its key: charon accepts any that fits, the peer only its own.
func (s *Server) agrees(name string, conn *connection) bool {
	key := s.PeerKey(name)
	known := false
	for _, secret := range s.secrets {
		known = known || secret.Data == key && slices.Contains(secret.Owners, conn.message.Section("remote").Get("id"))
	}
	s.nextID++
	sa := &ikeSA{name: name, id: s.nextID, conn: conn}
	s.log(sa, "192.0.2.2 is initiating an IKE_SA")
	switch {
	case !known:
		s.log(sa, "tried 1 shared key for '192.0.2.1' - '192.0.2.2', but MAC mismatched")
	case s.signsWith(conn) != key:
		// The responder is established before the initiator has seen its signature.
		s.ikes = append(s.ikes, sa)
		s.establish(sa)
		s.addChild(sa)
		s.log(sa, fmt.Sprintf("received DELETE for IKE_SA %s[%d]", sa.name, sa.id))
		s.remove(sa)
	default:
		return true
	}
	return false
}

// PeerCloses is the peer deleting all IKE_SAs of a connection.
func (s *Server) PeerCloses(name string) {
	s.each(name, func(sa *ikeSA) {
		s.log(sa, fmt.Sprintf("received DELETE for IKE_SA %s[%d]", sa.name, sa.id))
		s.remove(sa)
	})
}

// PeerDies is charon finding out that the peer of an established connection does not answer any more.
func (s *Server) PeerDies(name string) {
	s.each(name, func(sa *ikeSA) {
		if sa.state == "ESTABLISHED" {
			s.log(sa, "giving up after 5 retransmits")
			s.remove(sa)
		}
	})
}

// Rekey replaces every CHILD_SA of a connection. With phantom both ends do at the same time: a second replacement is reported and
// vanishes without an event, as happens before 6.0.
func (s *Server) Rekey(name string, phantom bool) {
	s.each(name, func(sa *ikeSA) {
		for _, old := range slices.Clone(sa.children) {
			s.rekey(sa, old, false)
			if phantom {
				s.rekey(sa, old, true)
			}
		}
	})
}

func (s *Server) rekey(sa *ikeSA, old *childSA, vanish bool) {
	s.nextID++
	fresh := &childSA{id: s.nextID, state: "INSTALLED", ifID: old.ifID}
	body := sa.fields()
	pair := new(vici.Message).SetSection("old", old.message()).SetSection("new", fresh.message())
	body.SetSection("child-sas", new(vici.Message).SetSection(sa.name, pair))
	sa.children = slices.DeleteFunc(sa.children, func(x *childSA) bool { return x == old })
	if !vanish {
		sa.children = append(sa.children, fresh)
	}
	s.push("child-rekey", new(vici.Message).SetSection(sa.name, body))
}

// RekeyIKE replaces the IKE_SAs of a connection; children move to the new ones.
func (s *Server) RekeyIKE(name string) {
	s.each(name, func(sa *ikeSA) {
		before := sa.fields()
		old := sa.id
		s.nextID++
		sa.id = s.nextID
		s.push("ike-rekey", new(vici.Message).SetSection(sa.name, new(vici.Message).SetSection("old", before).SetSection("new", sa.fields())))
		s.log(&ikeSA{name: sa.name, id: old}, fmt.Sprintf("received DELETE for IKE_SA %s[%d]", sa.name, old))
	})
}

// ReauthenticateV1 begins to replace the IKE_SAs of a connection as IKEv1 does: the new one has the CHILD_SAs at once, before it is
// established, and nothing says so. finish ends that: the new one is established, the old one deleted.
func (s *Server) ReauthenticateV1(name string) (finish func()) {
	var fresh, old []*ikeSA
	s.each(name, func(sa *ikeSA) {
		s.nextID++
		sa.version = 1
		n := &ikeSA{name: name, state: "CONNECTING", id: s.nextID, conn: sa.conn, initiator: sa.initiator, version: 1, children: sa.children}
		sa.children = nil
		s.ikes = append(s.ikes, n)
		fresh, old = append(fresh, n), append(old, sa)
	})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, sa := range fresh {
			s.establish(sa)
		}
		for _, sa := range old {
			s.log(sa, fmt.Sprintf("received DELETE for IKE_SA %s[%d]", sa.name, sa.id))
			s.remove(sa)
		}
	}
}

// Lose removes a connection's SAs without any event.
func (s *Server) Lose(name string) { s.each(name, s.forget) }

// Carry adds traffic to every CHILD_SA of a connection.
func (s *Server) Carry(name string, bytes uint64) {
	s.each(name, func(sa *ikeSA) {
		for _, child := range sa.children {
			child.bytes += bytes
			child.used = time.Now()
		}
	})
}

// Adopt puts n established SAs of connections called name(i) into charon, between 192.0.2.1 and 192.0.2.2, as if they were there from
// before.
func (s *Server) Adopt(n int, name func(i int) string, ifID uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		s.nextID += 2
		s.ikes = append(s.ikes, &ikeSA{name: name(i), state: "ESTABLISHED", id: s.nextID - 1, initiator: true,
			children: []*childSA{{id: s.nextID, state: "INSTALLED", ifID: fmt.Sprintf("%08x", ifID)}}})
	}
}

// IKESAs returns the unique ids of a connection's IKE_SAs.
func (s *Server) IKESAs(name string) (ids []uint32) {
	s.each(name, func(sa *ikeSA) { ids = append(ids, sa.id) })
	return ids
}

// SAs returns the number of IKE_SAs and CHILD_SAs of a connection.
func (s *Server) SAs(name string) (ikes, children int) {
	s.each(name, func(sa *ikeSA) {
		ikes++
		children += len(sa.children)
	})
	return ikes, children
}

func (s *Server) each(name string, do func(*ikeSA)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sa := range slices.Clone(s.ikes) {
		if sa.name == name {
			do(sa)
		}
	}
}

// message is the IKE_SA as events carry it; keys and values of head go in front.
func (sa *ikeSA) message(children bool, head ...string) *vici.Message {
	m := new(vici.Message)
	for i := 0; i+1 < len(head); i += 2 {
		m.Set(head[i], head[i+1])
	}
	body := sa.fields()
	if children {
		list := new(vici.Message)
		for _, child := range sa.children {
			list.SetSection(fmt.Sprintf("%s-%d", sa.name, child.id), child.message())
		}
		body.SetSection("child-sas", list)
	}
	return m.SetSection(sa.name, body)
}

func (sa *ikeSA) childMessage(child *childSA, head ...string) *vici.Message {
	m := new(vici.Message)
	for i := 0; i+1 < len(head); i += 2 {
		m.Set(head[i], head[i+1])
	}
	list := new(vici.Message).SetSection(fmt.Sprintf("%s-%d", sa.name, child.id), child.message())
	return m.SetSection(sa.name, sa.fields().SetSection("child-sas", list))
}

func (sa *ikeSA) fields() *vici.Message {
	m := new(vici.Message).Set("uniqueid", strconv.FormatUint(uint64(sa.id), 10)).Set("version", strconv.Itoa(cmp.Or(sa.version, 2))).Set("state", sa.state)
	local, remote := "192.0.2.1", "192.0.2.2"
	if sa.conn != nil {
		local, remote = sa.conn.message.List("local_addrs")[0], sa.conn.message.List("remote_addrs")[0]
	}
	m.Set("local-host", local).Set("local-port", "4500").Set("local-id", local).
		Set("remote-host", remote).Set("remote-port", "4500").Set("remote-id", remote)
	if sa.initiator {
		m.Set("initiator", "yes")
	}
	return m.Set("initiator-spi", fmt.Sprintf("%016x", uint64(sa.id)*0x9e3779b97f4a7c15)).Set("responder-spi", "00000000000000aa").
		Set("nat-remote", "yes").Set("nat-any", "yes").Set("encr-alg", "AES_GCM_16").Set("encr-keysize", "256").
		Set("prf-alg", "PRF_HMAC_SHA2_384").Set("dh-group", "ECP_384").Set("established", "0")
}

func (c *childSA) message() *vici.Message {
	m := new(vici.Message).Set("name", "child").Set("uniqueid", strconv.FormatUint(uint64(c.id), 10)).Set("reqid", "1")
	if c.ifID != "" {
		m.Set("if-id-in", c.ifID).Set("if-id-out", c.ifID)
	}
	if !c.used.IsZero() {
		// Whole seconds of the wall clock, as the kernel keeps them.
		m.Set("use-in", strconv.FormatInt(time.Now().Unix()-c.used.Unix(), 10))
	}
	return m.
		Set("state", c.state).Set("mode", "TUNNEL").Set("protocol", "ESP").Set("encap", "yes").
		Set("spi-in", fmt.Sprintf("c%07x", c.id)).Set("spi-out", fmt.Sprintf("d%07x", c.id)).
		Set("encr-alg", "AES_GCM_16").Set("encr-keysize", "256").Set("dh-group", "ECP_384").
		Set("bytes-in", strconv.FormatUint(c.bytes, 10)).Set("packets-in", strconv.FormatUint(c.bytes/100, 10)).
		Set("bytes-out", strconv.FormatUint(c.bytes, 10)).Set("packets-out", strconv.FormatUint(c.bytes/100, 10)).
		Set("install-time", "5")
}
