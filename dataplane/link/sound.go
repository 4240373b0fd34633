package link

import "github.com/bordergw/bordergw/dataplane/netlink"

// What follows looks at devices only when they are not known to be as desired. Whoever hears of a change takes the device out of
// gateway.sound, and Invalidate takes out all. sysctls have no events: they are as good as the last look at their device.

func (r *round) soundVRF() (netlink.Link, error) {
	if s, ok := r.g.sound[r.want.VRF]; ok && s.ofGateway && s.link.Table == r.want.Table {
		r.keep(r.want.VRF, s)
		return s.link, nil
	}
	l, err := r.ensureVRF()
	if err == nil {
		r.keep(r.want.VRF, sound{link: l, ofGateway: true})
	}
	return l, err
}

func (r *round) soundTunnel(w Interface) (InterfaceState, error) {
	s, known := r.g.sound[w.Name]
	if known && s.tunnel == w && s.link.Master == r.vrf.Index && r.vrf.Index != 0 {
		// Of the underlay nothing is heard: it may be another device meanwhile.
		if underlay, err := r.underlay(w.Underlay); err == nil && underlay.Index == s.link.Underlay {
			r.keep(w.Name, s)
			return s.asTunnel, nil
		}
	}
	state, err := r.tunnel(w)
	if l := r.seen[w.Name]; err == nil && l.Index != 0 {
		r.keep(w.Name, sound{link: l, tunnel: w, asTunnel: state})
	}
	return state, err
}

func (r *round) soundMember(name string) (MemberState, error) {
	s, known := r.g.sound[name]
	if known && s.isMember && s.link.Master == r.vrf.Index && r.vrf.Index != 0 && r.d.owner(name) == r.g.name {
		r.keep(name, s)
		return s.asMember, nil
	}
	state, err := r.member(name)
	if l := r.seen[name]; err == nil && state.Enslaved {
		r.keep(name, sound{link: l, isMember: true, asMember: state})
	}
	return state, err
}

func (r *round) keep(name string, s sound) {
	r.sound[name], r.seen[name] = s, s.link
}

// underlay returns a device that tunnels have below them; Index is 0 when there is none.
func (r *round) underlay(name string) (netlink.Link, error) {
	if l, ok := r.underlays[name]; ok {
		return l, nil
	}
	l, err := r.lookup(name)
	if err == nil && l.Index != 0 {
		r.underlays[name] = l
	}
	return l, err
}
