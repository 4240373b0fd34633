package charon

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// saSet folds what charon reports about one tunnel's SAs. Events and the items of listings must be given in the order in which charon sent
// them; both come over one connection, so that order is the order in which things happened.
type saSet struct {
	ikes     map[uint32]*ikeSA
	children map[uint32]*childSA

	traffic        Traffic
	establishments uint64
	rekeys         uint64
	ikeRekeys      uint64
}

// stamp is when a report came: at which time, and after the start of which listing.
type stamp struct {
	now   time.Time
	epoch uint64
}

func (s *saSet) putIKE(sa *ikeSA, at stamp) *ikeSA {
	if s.ikes == nil {
		s.ikes, s.children = make(map[uint32]*ikeSA), make(map[uint32]*childSA)
	}
	sa.since, sa.seen = at.now, at.epoch
	// Ids start over when charon does; SPIs are random.
	if known := s.ikes[sa.id]; known != nil && known.initiatorSPI == sa.initiatorSPI {
		sa.since, sa.stale, sa.doubted = known.since, known.stale, known.doubted
	}
	s.ikes[sa.id] = sa
	return sa
}

// putChild adds or updates a CHILD_SA and counts its traffic; it reports whether the id is new.
func (s *saSet) putChild(c *childSA, at stamp) bool {
	known := s.children[c.UniqueID]
	if known != nil && known.SPIIn != c.SPIIn {
		known = nil
	}
	before := Traffic{}
	if known != nil {
		before, c.stale, c.doubted, c.replaced = known.Traffic, known.stale, known.doubted, known.replaced
		// Rounding makes the computed time of installation jump by a second.
		c.Installed = known.Installed
		if c.Traffic == (Traffic{}) {
			// Events about states without statistics carry none.
			c.Traffic = known.Traffic
		}
		c.since = known.since
	} else if ike := s.ikes[c.IKEUniqueID]; ike != nil {
		c.stale, c.doubted = ike.stale, ike.doubted
	}
	s.traffic.add(c.Traffic, before)
	c.seen = at.epoch
	if c.since.IsZero() {
		c.since = at.now
	}
	s.children[c.UniqueID] = c
	return known == nil
}

func (t *Traffic) add(now, before Traffic) {
	t.BytesIn += grown(now.BytesIn, before.BytesIn)
	t.BytesOut += grown(now.BytesOut, before.BytesOut)
	t.PacketsIn += grown(now.PacketsIn, before.PacketsIn)
	t.PacketsOut += grown(now.PacketsOut, before.PacketsOut)
}

func grown(now, before uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}

// ikeUp and ikeDown fold ike-updown. The down event of an IKE_SA takes all its CHILD_SAs along; their own, which follow, have the last
// counters. Not so with IKEv1, where the new IKE_SA adopts the old one's CHILD_SAs and no event says so (adopt_children_job.c,
// task_manager_v1.c): there a CHILD_SA ends with its own event only. ikeDown reports false when a listing has to tell whose they are.
func (s *saSet) ikeUp(sa *ikeSA, at stamp) { s.putIKE(sa, at) }

func (s *saSet) ikeDown(sa *ikeSA) bool {
	delete(s.ikes, sa.id)
	regular := true
	for _, c := range s.children {
		if c.IKEUniqueID == sa.id {
			c.live = c.live && sa.version == 1
			regular = regular && !c.live
		}
	}
	return regular
}

// ikeRekey folds ike-rekey: CHILD_SAs move to the new IKE_SA without events of their own.
func (s *saSet) ikeRekey(old, fresh *ikeSA, at stamp) {
	s.ikeRekeys++
	fresh = s.putIKE(fresh, at)
	if known := s.ikes[old.id]; known != nil {
		fresh.stale, fresh.doubted = known.stale, known.doubted
	}
	delete(s.ikes, old.id)
	for _, c := range s.children {
		if c.IKEUniqueID == old.id {
			c.IKEUniqueID, c.seen = fresh.id, at.epoch
		}
	}
}

func (s *saSet) childUp(ike *ikeSA, c *childSA, at stamp) {
	s.putIKE(ike, at)
	c.live = true
	if s.putChild(c, at) {
		s.establishments++
	}
}

func (s *saSet) childDown(c *childSA, at stamp) {
	if s.children[c.UniqueID] != nil {
		s.putChild(c, at)
		delete(s.children, c.UniqueID)
	}
}

// childRekey folds child-rekey. It reports false when the old SA was not in the set or was replaced before: then two ends rekeyed at the same time
// (before 6.0 the redundant SA vanishes later without an event) or something was missed, and only a listing tells. A listing just before the
// event may have shown the old SA as replaced already; the rekeying counts all the same.
func (s *saSet) childRekey(ike *ikeSA, old, fresh *childSA, at stamp) bool {
	s.putIKE(ike, at)
	known := s.children[old.UniqueID]
	regular := known != nil && !known.replaced
	fresh.live = true
	s.putChild(fresh, at)
	if known != nil {
		fresh.stale, fresh.doubted = known.stale, known.doubted
		// It still decrypts for some seconds, which listings report.
		old.live = false
		s.putChild(old, at)
		old.replaced = true
	}
	if regular {
		s.rekeys++
	}
	return regular
}

// listed folds one item of a listing. charon holds the IKE_SA while it lists it, so its CHILD_SAs are exactly those in the item. One that
// is no longer there may have moved to an IKE_SA that is listed later: the end of the listing decides.
func (s *saSet) listed(m *vici.Message, at stamp) bool {
	sa, ok := parseIKE(m)
	if !ok {
		return false
	}
	wasUp := s.up()
	sa = s.putIKE(sa, at)
	if sa.state == "DELETING" || sa.state == "DESTROYING" {
		s.ikeDown(sa)
		return true
	}
	present := make(map[uint32]bool)
	for _, section := range m.Section("child-sas").Sections() {
		c, ok := parseChild(section, sa.id, at.now)
		if !ok {
			continue
		}
		present[c.UniqueID] = true
		if s.putChild(c, at) && c.live && !wasUp && at.epoch > 1 {
			// Its event was lost. What the very first listing finds was established before our time.
			s.establishments++
		}
	}
	for id, c := range s.children {
		if c.IKEUniqueID == sa.id && !present[id] {
			c.seen = at.epoch - 1
		}
	}
	return true
}

// endListing removes what neither the listing nor an event since its start confirmed. Of IKEv1 it believes only the second listing in a
// row, and returns true to ask for it: a CHILD_SA that is adopted while charon lists may be with the new IKE_SA after that one was listed
// and gone from the old one before that one was.
func (s *saSet) endListing(epoch uint64) (again bool) {
	maps.DeleteFunc(s.children, func(_ uint32, c *childSA) bool {
		if c.seen >= epoch {
			return false
		}
		ike := s.ikes[c.IKEUniqueID]
		if c.live && !c.missed && (ike == nil || ike.version == 1) {
			c.missed, again = true, true
			return false
		}
		return true
	})
	maps.DeleteFunc(s.ikes, func(_ uint32, sa *ikeSA) bool { return sa.seen < epoch })
	return again
}

// markStale notes that the settings changed: of the IKE_SAs, and with them of all CHILD_SAs, or only of the CHILD_SAs.
func (s *saSet) markStale(ike bool) {
	for _, sa := range s.ikes {
		sa.stale = sa.stale || ike
	}
	for _, c := range s.children {
		c.stale = true
	}
}

// doubt notes that what is there does not carry packets, or takes that back.
func (s *saSet) doubt(yes bool) {
	for _, sa := range s.ikes {
		sa.doubted = yes && sa.established()
	}
	for _, c := range s.children {
		c.doubted = yes
	}
}

func (s *saSet) up() bool {
	for _, c := range s.children {
		if c.live {
			return true
		}
	}
	return false
}

func (s *saSet) empty() bool { return len(s.ikes) == 0 && len(s.children) == 0 }

// live returns the installed CHILD_SAs ordered by id.
func (s *saSet) live() []*childSA {
	var out []*childSA
	for _, c := range s.children {
		if c.live {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *childSA) int { return cmp.Compare(a.UniqueID, b.UniqueID) })
	return out
}

// split parts the installed CHILD_SAs into those that match the wanted settings as far as we know and are not in doubt, and the others.
func (s *saSet) split(want Tunnel) (fresh, stale []*childSA) {
	for _, c := range s.live() {
		ike := s.ikes[c.IKEUniqueID]
		moved := ike != nil && ike.remote.IsValid() && (ike.remote.Addr() != want.Remote || ike.local.Addr() != want.Local)
		if c.stale || c.doubted || moved || c.IfID != want.IfID {
			stale = append(stale, c)
		} else {
			fresh = append(fresh, c)
		}
	}
	return fresh, stale
}

func (s *saSet) ikeState() IKEState {
	state := IKEDown
	for _, sa := range s.ikes {
		if sa.established() {
			return IKEEstablished
		}
		if sa.connecting() {
			state = IKEConnecting
		}
	}
	return state
}

// newest returns the established IKE_SA with the highest id, nil when there is none.
func (s *saSet) newest() *ikeSA {
	var out *ikeSA
	for _, sa := range s.ikes {
		if sa.established() && (out == nil || sa.id > out.id) {
			out = sa
		}
	}
	return out
}

// childless returns established IKE_SAs without an installed CHILD_SA.
func (s *saSet) childless() []*ikeSA {
	used := make(map[uint32]bool)
	for _, c := range s.children {
		used[c.IKEUniqueID] = used[c.IKEUniqueID] || c.live
	}
	var out []*ikeSA
	for _, sa := range s.ikes {
		if sa.established() && !used[sa.id] {
			out = append(out, sa)
		}
	}
	slices.SortFunc(out, func(a, b *ikeSA) int { return cmp.Compare(a.id, b.id) })
	return out
}

// duplicates returns the IKE_SAs that carry some of the CHILD_SAs given besides the one to keep. That one has the lowest initiator SPI,
// which both ends see alike, so that two agents never delete each other's choice.
func (s *saSet) duplicates(children []*childSA) []uint32 {
	used := make(map[uint32]bool)
	for _, c := range children {
		if s.ikes[c.IKEUniqueID] != nil {
			used[c.IKEUniqueID] = true
		}
	}
	ids := slices.SortedFunc(maps.Keys(used), func(a, b uint32) int {
		return cmp.Or(cmp.Compare(s.ikes[a].initiatorSPI, s.ikes[b].initiatorSPI), cmp.Compare(a, b))
	})
	if len(ids) < 2 {
		return nil
	}
	return ids[1:]
}
