package gobgp

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/bordergw/bordergw/bgp"
)

// view is what is known of one gateway's sessions and routes. GoBGP's events feed it and readers copy from it; nobody holds its
// lock while doing anything else. Neighbors are found by address, as GoBGP names them.
type view struct {
	now func() time.Time

	mu       sync.Mutex
	epoch    int // counts servers: what one reports after it was stopped is not for the next one's sessions
	sessions map[netip.Addr]*session
	rib      *rib
	refused  map[netip.Addr]map[netip.Prefix]refusal
	stale    bool // counters differ from what was read last
}

// refusal is what was announced and not accepted, and in which session.
type refusal struct {
	bgp.Refused
	session int
}

// session is a bgp.Session under construction.
type session struct {
	bgp.Session
	neighbor bgp.Neighbor
	families []gobgpbgp.Family // configured; once established, negotiated
	ended    map[gobgpbgp.Family]bool
	entered  time.Time // into the present state
	number   int       // counts sessions, so that what was heard in an earlier one can be told apart
	hold     time.Duration
	resent   bool // everything was announced once more since the session is established
}

func newView(now func() time.Time) *view {
	return &view{now: now, sessions: map[netip.Addr]*session{}, rib: newRIB(), refused: map[netip.Addr]map[netip.Prefix]refusal{}}
}

// want makes the view know a neighbor, before GoBGP does.
func (v *view) want(asn uint32, n bgp.Neighbor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &session{Session: bgp.Session{
		Neighbor: n.Name, Kind: n.Kind, State: bgp.Idle, Since: v.now(),
		LocalAddress: n.LocalAddress, PeerAddress: n.Address, LocalASN: asn, PeerASN: n.PeerASN,
	}, neighbor: n}
	if old := v.sessions[n.Address]; old != nil && old.Neighbor == n.Name {
		s.Since, s.Message, s.Exceeded = old.Since, old.Message, old.Exceeded // wanted all along, as after a prefix limit
		s.number = old.number
	}
	s.families, s.hold = families(n), n.Hold
	if s.hold == 0 {
		s.hold = defaultHold
	}
	v.sessions[n.Address] = s
	v.stale = true
}

// unwant forgets a neighbor and everything learned from it.
func (v *view) unwant(addr netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sessions, addr)
	v.dropRoutes(addr)
	v.stale = true
}

// suspend keeps a neighbor in the view that GoBGP does not know any more, with the reason.
func (v *view) suspend(addr netip.Addr, message string, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sessions[addr]; s != nil {
		if s.State == bgp.Established {
			s.Since = v.now()
		}
		s.State, s.Message, s.EORReceived = bgp.Idle, message, false
		s.NextTry = until
		s.Exceeded++
		s.Received, s.Accepted, s.Announced = 0, 0, 0
	}
	v.dropRoutes(addr)
}

// begin returns the epoch that the events of a new server carry.
func (v *view) begin() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.epoch++
	return v.epoch
}

// clear forgets everything and returns the names of the neighbors there were.
func (v *view) clear() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	names := make([]string, 0, len(v.sessions))
	for _, s := range v.sessions {
		names = append(names, s.Neighbor)
	}
	slices.Sort(names)
	v.epoch++
	clear(v.sessions)
	v.rib = newRIB()
	clear(v.refused)
	return names
}

// dropRoutes forgets everything that a neighbor has announced.
func (v *view) dropRoutes(addr netip.Addr) { v.dropBefore(addr, math.MaxInt) }

// dropBefore forgets what a neighbor has announced before one of its sessions, and says whether there was anything.
func (v *view) dropBefore(addr netip.Addr, number int) bool {
	dropped := v.rib.drop(addr, number)
	for prefix, r := range v.refused[addr] {
		if r.session < number {
			delete(v.refused[addr], prefix)
			dropped = true
		}
	}
	if len(v.refused[addr]) == 0 {
		delete(v.refused, addr)
	}
	return dropped
}

// paths takes in paths and withdrawals, and says whether they changed anything.
func (v *view) paths(epoch int, all []*apiutil.Path) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if epoch != v.epoch {
		return false
	}
	v.stale = true
	changed := false
	for _, p := range all {
		nlri, ok := p.Nlri.(*gobgpbgp.IPAddrPrefix)
		if !ok {
			continue
		}
		prefix := nlri.Prefix.Masked()
		s := v.sessions[p.PeerAddress]
		if p.Withdrawal || s == nil {
			changed = v.forget(p.PeerAddress, prefix) || changed
			continue
		}
		path := bgp.Path{Neighbor: s.Neighbor, Kind: s.Kind}
		readAttributes(p.Attrs, &path)
		changed = v.judge(s, prefix, path) || changed
	}
	return changed
}

// forget removes what a neighbor has announced for a prefix, accepted or refused, and says whether there was anything.
func (v *view) forget(addr netip.Addr, prefix netip.Prefix) bool {
	_, refused := v.refused[addr][prefix]
	delete(v.refused[addr], prefix)
	return v.rib.remove(prefix, addr) || refused
}

// judge puts a path where it belongs, and says whether that is new.
func (v *view) judge(s *session, prefix netip.Prefix, path bgp.Path) bool {
	addr := s.PeerAddress
	if why := s.neighbor.Judge(s.LocalASN, prefix, path.ASPath); why != "" {
		old, had := v.refused[addr][prefix]
		v.rib.remove(prefix, addr)
		if v.refused[addr] == nil {
			v.refused[addr] = map[netip.Prefix]refusal{}
		}
		v.refused[addr][prefix] = refusal{Refused: bgp.Refused{Prefix: prefix, Path: path, Why: why}, session: s.number}
		return !had || old.Why != why || !samePath(old.Path, path)
	}
	_, was := v.refused[addr][prefix]
	delete(v.refused[addr], prefix)
	return v.rib.put(prefix, heard{addr: addr, path: path, session: s.number}) || was
}

// rejudge looks again at everything that a neighbor, which is now as n, has announced, and says whether that changed anything.
func (v *view) rejudge(n bgp.Neighbor) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[n.Address]
	if s == nil {
		return false
	}
	s.neighbor = n
	all := v.rib.of(n.Address)
	for prefix, r := range v.refused[n.Address] {
		all[prefix] = r.Path
	}
	changed := false
	for prefix, path := range all {
		changed = v.judge(s, prefix, path) || changed
	}
	return changed
}

// snapshotRefused returns what is not accepted, sorted by neighbor and prefix.
func (v *view) snapshotRefused() []bgp.Refused {
	v.mu.Lock()
	defer v.mu.Unlock()
	var l []bgp.Refused
	for _, refused := range v.refused {
		for _, r := range refused {
			l = append(l, r.Refused)
		}
	}
	slices.SortFunc(l, func(a, b bgp.Refused) int {
		return cmp.Or(cmp.Compare(a.Path.Neighbor, b.Path.Neighbor), bgp.ComparePrefixes(a.Prefix, b.Prefix))
	})
	return l
}

func readAttributes(attrs []gobgpbgp.PathAttributeInterface, p *bgp.Path) {
	for _, a := range attrs {
		switch a := a.(type) {
		case *gobgpbgp.PathAttributeNextHop:
			p.NextHop = a.Value
		case *gobgpbgp.PathAttributeMpReachNLRI:
			p.NextHop = a.Nexthop
		case *gobgpbgp.PathAttributeAsPath:
			for _, segment := range a.Value {
				p.ASPath = append(p.ASPath, segment.GetAS()...)
				p.Length += segment.ASLen()
			}
		}
	}
}

func samePath(a, b bgp.Path) bool {
	return a.Neighbor == b.Neighbor && a.Kind == b.Kind && a.NextHop == b.NextHop && a.Length == b.Length &&
		slices.Equal(a.ASPath, b.ASPath)
}

// snapshotRoutes returns the learned routes sorted by prefix. The result is shared and must not be changed.
func (v *view) snapshotRoutes() []bgp.Learned {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rib.snapshot()
}

func families(n bgp.Neighbor) []gobgpbgp.Family {
	var l []gobgpbgp.Family
	if n.IPv4 {
		l = append(l, gobgpbgp.RF_IPv4_UC)
	}
	if n.IPv6 {
		l = append(l, gobgpbgp.RF_IPv6_UC)
	}
	return l
}
