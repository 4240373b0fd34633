package charon

import (
	"net/netip"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
)

// maxTalks bounds how many IKE_SAs are followed in the log. Strangers can start as many as they like; the oldest are forgotten.
const maxTalks = 4096

// talk is what the log and events said about one IKE_SA of charon.
type talk struct {
	diagnose.Conversation
	chatter
	id uint32
	// tunnel is empty until the connection is known or the addresses tell.
	tunnel string
	// established is true once the IKE_SA was.
	established bool
	// reported is when its last failure was; charon has several lines and alerts for one.
	reported time.Time
	// heard is the last sign of life, as far as known; asked is since when charon waits for one, zero while it does not; verified is the
	// start of the last listing that told of ESP since.
	heard, asked, verified time.Time
	// guessed: heard is what charon's asking tells, a second off at most.
	guessed bool
	reason  string
}

// talks are found by charon's unique id of the IKE_SA.
type talks struct {
	byID  map[uint32]*talk
	order []uint32
}

func (t *talks) reset() { t.byID, t.order = nil, nil }

func (t *talks) get(id uint32) *talk {
	if known := t.byID[id]; known != nil {
		return known
	}
	if t.byID == nil {
		t.byID = make(map[uint32]*talk)
	}
	if len(t.order) >= maxTalks {
		delete(t.byID, t.order[0])
		t.order = t.order[1:]
	}
	fresh := &talk{id: id}
	t.byID[id] = fresh
	t.order = append(t.order, id)
	return fresh
}

// tunnelOf names the tunnel between two addresses; without the local one only if the remote one has a single tunnel.
// The caller holds the lock.
func (d *Driver) tunnelOf(local, remote netip.Addr) string {
	found := ""
	for name := range d.byRemote[remote] {
		if local.IsValid() && d.tunnels[name].want.Local != local {
			continue
		}
		if found != "" {
			return ""
		}
		found = name
	}
	return found
}
