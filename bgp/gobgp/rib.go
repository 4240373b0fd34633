package gobgp

import (
	"net/netip"
	"slices"

	"github.com/bordergw/bordergw/bgp"
)

// heard is what one neighbor has announced for one prefix, in which of its sessions.
type heard struct {
	addr    netip.Addr
	path    bgp.Path
	session int
}

// rib holds the accepted paths of all neighbors, at most one of each to a prefix, because ADD-PATH is never negotiated.
type rib struct {
	paths map[netip.Prefix][]heard
	// held is how many paths there are of each neighbor, by session; a neighbor without paths is not in it.
	held map[netip.Addr]map[int]uint32
	// sorted is the last snapshot, which others may be reading; dirty are the prefixes that changed since.
	sorted []bgp.Learned
	dirty  map[netip.Prefix]struct{}
}

func newRIB() *rib {
	return &rib{paths: map[netip.Prefix][]heard{}, held: map[netip.Addr]map[int]uint32{}, dirty: map[netip.Prefix]struct{}{}}
}

// put takes in a path, and says whether it differs from what the neighbor had announced before.
func (r *rib) put(prefix netip.Prefix, h heard) bool {
	paths := r.paths[prefix]
	for i := range paths {
		if old := &paths[i]; old.addr == h.addr {
			r.hold(h.addr, old.session, h.session)
			old.session = h.session
			if samePath(old.path, h.path) {
				return false
			}
			old.path = h.path
			r.dirty[prefix] = struct{}{}
			return true
		}
	}
	if paths == nil {
		// A prefix has as many paths as its customer has tunnels, mostly.
		paths = make([]heard, 0, 2)
	}
	r.paths[prefix] = append(paths, h)
	r.hold(h.addr, none, h.session)
	r.dirty[prefix] = struct{}{}
	return true
}

// remove forgets a neighbor's path, and says whether there was one.
func (r *rib) remove(prefix netip.Prefix, addr netip.Addr) bool {
	paths := r.paths[prefix]
	i := slices.IndexFunc(paths, func(h heard) bool { return h.addr == addr })
	if i < 0 {
		return false
	}
	r.hold(addr, paths[i].session, none)
	if paths = slices.Delete(paths, i, i+1); len(paths) > 0 {
		r.paths[prefix] = paths
	} else {
		delete(r.paths, prefix)
	}
	r.dirty[prefix] = struct{}{}
	return true
}

// none stands for no session.
const none = -1

// hold counts a path of a neighbor from one session to another.
func (r *rib) hold(addr netip.Addr, from, to int) {
	held := r.held[addr]
	if from == to {
		return
	}
	if to != none {
		if held == nil {
			held = map[int]uint32{}
			r.held[addr] = held
		}
		held[to]++
	}
	if from != none {
		if held[from]--; held[from] == 0 {
			delete(held, from)
		}
	}
	if len(held) == 0 {
		delete(r.held, addr)
	}
}

// accepted is how many paths of a neighbor are held.
func (r *rib) accepted(addr netip.Addr) uint32 {
	n := uint32(0)
	for _, count := range r.held[addr] {
		n += count
	}
	return n
}

// drop forgets the paths of a neighbor that were heard before a session, and says whether there were any. When there are none, as after a first
// session, it costs nothing.
func (r *rib) drop(addr netip.Addr, before int) bool {
	dropped := false
	for session := range r.held[addr] {
		dropped = dropped || session < before
	}
	if !dropped {
		return false
	}
	for prefix, paths := range r.paths {
		if slices.ContainsFunc(paths, func(h heard) bool { return h.addr == addr && h.session < before }) {
			r.remove(prefix, addr)
		}
	}
	return true
}

// of returns the paths of a neighbor by prefix.
func (r *rib) of(addr netip.Addr) map[netip.Prefix]bgp.Path {
	out := map[netip.Prefix]bgp.Path{}
	for prefix, paths := range r.paths {
		for i := range paths {
			if paths[i].addr == addr {
				out[prefix] = paths[i].path
			}
		}
	}
	return out
}

// snapshot returns the selected paths sorted by prefix; nobody may change it. It costs as much as the prefixes that changed, and a copy.
func (r *rib) snapshot() []bgp.Learned {
	if len(r.dirty) == 0 {
		return r.sorted
	}
	changed := make([]netip.Prefix, 0, len(r.dirty))
	for prefix := range r.dirty {
		changed = append(changed, prefix)
	}
	clear(r.dirty)
	slices.SortFunc(changed, bgp.ComparePrefixes)
	out := make([]bgp.Learned, 0, len(r.paths))
	rest := r.sorted
	for _, prefix := range changed {
		i, found := slices.BinarySearchFunc(rest, prefix, func(l bgp.Learned, p netip.Prefix) int { return bgp.ComparePrefixes(l.Prefix, p) })
		out = append(out, rest[:i]...)
		if rest = rest[i:]; found {
			rest = rest[1:]
		}
		if paths := r.paths[prefix]; len(paths) > 0 {
			all := make([]bgp.Path, 0, len(paths))
			for _, h := range paths {
				all = append(all, h.path)
			}
			out = append(out, bgp.Learned{Prefix: prefix, Paths: bgp.Best(all)})
		}
	}
	r.sorted = append(out, rest...)
	return r.sorted
}
