package charon

import (
	"strconv"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// item is one item of a listing: an IKE_SA and the ids of its CHILD_SAs.
func item(version, ike int, children ...int) *vici.Message {
	sas := new(vici.Message)
	for _, id := range children {
		sas.SetSection("c-"+strconv.Itoa(id), new(vici.Message).Set("uniqueid", strconv.Itoa(id)).Set("state", "INSTALLED").Set("spi-in", strconv.Itoa(id)))
	}
	return new(vici.Message).Set("uniqueid", strconv.Itoa(ike)).Set("version", strconv.Itoa(version)).Set("state", "ESTABLISHED").
		Set("initiator-spi", strconv.Itoa(ike)).SetSection("child-sas", sas)
}

// charon lists one IKE_SA after the other. A CHILD_SA that goes from one to the other meanwhile may be seen at neither.
func TestListingDuringAdoption(t *testing.T) {
	at := func(epoch uint64) stamp { return stamp{now: time.Unix(int64(epoch), 0), epoch: epoch} }
	for name, tc := range map[string]struct {
		version int
		second  []*vici.Message
		first   bool // up after the first listing, so that there is a second one
		up      bool
	}{
		"IKEv1, adopted": {version: 1, second: []*vici.Message{item(1, 2, 5)}, first: true, up: true},
		"IKEv1, gone":    {version: 1, second: []*vici.Message{item(1, 2)}, first: true},
		"IKEv2":          {version: 2}, // ike-rekey says whose they are
	} {
		t.Run(name, func(t *testing.T) {
			s := &saSet{}
			s.listed(item(tc.version, 1, 5), at(1))
			if again := s.endListing(1); again || !s.up() {
				t.Fatalf("at first: up %v, again %v", s.up(), again)
			}
			s.listed(item(tc.version, 2), at(2))
			s.listed(item(tc.version, 1), at(2))
			if again := s.endListing(2); again != tc.first || s.up() != tc.first {
				t.Fatalf("after a listing in between: up %v, again %v", s.up(), again)
			}
			if !tc.first {
				return
			}
			for _, m := range tc.second {
				s.listed(m, at(3))
			}
			if again := s.endListing(3); again || s.up() != tc.up {
				t.Errorf("after the next one: up %v, again %v", s.up(), again)
			}
			if tc.up && s.endListing(4) != true {
				t.Error("an adopted CHILD_SA is gone with the first listing without it")
			}
		})
	}
}

// The responder of a rekeying installs the new SA, is asked to delete the old one, and only then tells of the rekeying: a listing may come
// in between.
func TestListingDuringRekeying(t *testing.T) {
	for _, state := range []string{"", "INSTALLED", "REKEYED"} {
		s, now := &saSet{}, stamp{now: time.Unix(1, 0), epoch: 1}
		s.listed(item(2, 1, 5), now)
		s.endListing(1)
		if state != "" {
			between := item(2, 1, 5, 6)
			between.Section("child-sas").Section("c-5").Set("state", state)
			s.listed(between, stamp{now: time.Unix(2, 0), epoch: 2})
			s.endListing(2)
		}
		rekeyed := func(id uint32) (regular bool) {
			ike := &ikeSA{id: 1, initiatorSPI: "1", state: "ESTABLISHED", version: 2}
			old := &childSA{ChildSA: ChildSA{UniqueID: 5, IKEUniqueID: 1, SPIIn: "5", State: "REKEYED"}}
			return s.childRekey(ike, old, &childSA{ChildSA: ChildSA{UniqueID: id, IKEUniqueID: 1, SPIIn: strconv.Itoa(int(id)), State: "INSTALLED"}}, now)
		}
		if !rekeyed(6) || s.rekeys != 1 || len(s.live()) != 1 || s.live()[0].UniqueID != 6 {
			t.Errorf("after %q: %d rekeys, live %v", state, s.rekeys, s.live())
		}
		if rekeyed(7) || s.rekeys != 1 {
			t.Errorf("after %q: a second rekeying of one SA: %d rekeys", state, s.rekeys)
		}
	}
}
