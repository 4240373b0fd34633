package gobgp

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/osrg/gobgp/v4/api"

	"github.com/bordergw/bordergw/bgp"
)

func TestExportMatrix(t *testing.T) {
	b := newBench(t, Options{})
	c1, c2 := b.router(11, 65010), b.router(12, 65020)
	external, internal := b.router(21, 64999), b.router(22, 65000)
	med := uint32(50)
	tunnel1, tunnel2 := c1.neighbor("tunnel/1", bgp.Customer), c2.neighbor("tunnel/2", bgp.Customer)
	tunnel2.MED, tunnel2.Prepend = &med, 2
	fabric1, fabric2 := external.neighbor("attachment/e", bgp.Fabric), internal.neighbor("attachment/i", bgp.Fabric)
	fabric1.Accept, fabric2.Accept = prefixes("10.0.0.0/16", "2001:db8:a::/48"), prefixes("10.1.0.0/16")

	s := b.speaker(tunnel1, tunnel2, fabric1, fabric2)
	s.Announcements = append(announcements(bgp.Customer, "10.0.0.0/16", "10.1.0.0/16", "192.168.9.0/24"),
		announcements(bgp.Fabric, "172.20.0.0/16", "192.168.9.0/24")...)
	b.apply(s)
	b.established("gw", "tunnel/1", "tunnel/2", "attachment/e", "attachment/i")

	c1.announce(route{prefix: "172.16.0.0/16", med: 7, origin: 2})
	c2.announce(route{prefix: "172.17.0.0/16", path: []uint32{65021}})
	external.announce(
		route{prefix: "10.0.0.0/16"}, route{prefix: "10.0.7.0/24"}, // accepted
		route{prefix: "10.1.7.0/24"}, route{prefix: "0.0.0.0/0"}, route{prefix: "10.0.0.0/15"}, route{prefix: "172.16.5.0/24"}) // not its own
	internal.announce(route{prefix: "10.1.8.0/24"}, route{prefix: "10.0.8.0/24"})

	toCustomer1 := []string{
		"10.0.0.0/16 via 127.0.0.1 path [65000]",
		"10.1.0.0/16 via 127.0.0.1 path [65000]",
		"192.168.9.0/24 via 127.0.0.1 path [65000]",
	}
	toCustomer2 := []string{
		"10.0.0.0/16 via 127.0.0.1 path [65000 65000 65000] med 50",
		"10.1.0.0/16 via 127.0.0.1 path [65000 65000 65000] med 50",
		"192.168.9.0/24 via 127.0.0.1 path [65000 65000 65000] med 50",
	}
	toExternal := []string{
		"172.20.0.0/16 via 127.0.0.1 path [65000]",
		"192.168.9.0/24 via 127.0.0.1 path [65000]",
	}
	toInternal := []string{
		"172.20.0.0/16 via 127.0.0.1 path [] pref 100",
		"192.168.9.0/24 via 127.0.0.1 path [] pref 100",
	}
	matrix := func() {
		b.Helper()
		c1.has(toCustomer1...)
		c2.has(toCustomer2...)
		external.has(toExternal...)
		internal.has(toInternal...)
	}

	learned := []string{"10.0.0.0/16: attachment/e", "10.0.7.0/24: attachment/e", "10.1.8.0/24: attachment/i",
		"172.16.0.0/16: tunnel/1", "172.17.0.0/16: tunnel/2"}

	b.run("nothing that is learned is passed on by itself", func() {
		b.learns("gw", learned...)
		settle(b)
		matrix()
	})
	b.run("what is learned is announced with its AS_PATH, and stays learned", func() {
		s.Announcements = append(s.Announcements, passOn(bgp.Fabric, []uint32{65010}, "172.16.0.0/16")...)
		s.Announcements = append(s.Announcements, passOn(bgp.Fabric, []uint32{65020, 65021}, "172.17.0.0/16")...)
		b.apply(s)
		toExternal = append([]string{
			"172.16.0.0/16 via 127.0.0.1 path [65000 65010]",
			"172.17.0.0/16 via 127.0.0.1 path [65000 65020 65021]",
		}, toExternal...)
		toInternal = append([]string{
			"172.16.0.0/16 via 127.0.0.1 path [65010] pref 100",
			"172.17.0.0/16 via 127.0.0.1 path [65020 65021] pref 100",
		}, toInternal...)
		matrix()
		b.learns("gw", learned...)
	})
	b.run("applying the same again sends nothing", func() {
		settle(b)
		sent := stable(b)
		b.apply(s)
		b.apply(s)
		matrix()
		if now := stable(b); now != sent {
			b.Errorf("%d UPDATEs were sent, %d before", now, sent)
		}
	})
	b.run("a withdrawn announcement", func() {
		s.Announcements = slices.DeleteFunc(s.Announcements, func(a bgp.Announcement) bool {
			return a.Prefix == netip.MustParsePrefix("10.1.0.0/16") || a.Prefix == netip.MustParsePrefix("192.168.9.0/24") && a.To == bgp.Fabric
		})
		b.apply(s)
		toCustomer1 = []string{toCustomer1[0], toCustomer1[2]}
		toCustomer2 = []string{toCustomer2[0], toCustomer2[2]}
		toExternal, toInternal = toExternal[:3], toInternal[:3]
		matrix()
	})
	b.run("an announcement turns from one side to the other", func() {
		for i := range s.Announcements {
			if s.Announcements[i].Prefix == netip.MustParsePrefix("192.168.9.0/24") {
				s.Announcements[i].To = bgp.Fabric
			}
		}
		b.apply(s)
		toCustomer1, toCustomer2 = toCustomer1[:1], toCustomer2[:1]
		toExternal = append(toExternal, "192.168.9.0/24 via 127.0.0.1 path [65000]")
		toInternal = append(toInternal, "192.168.9.0/24 via 127.0.0.1 path [] pref 100")
		matrix()
	})
	b.run("static shadows learned and gives it back", func() {
		i := slices.IndexFunc(s.Announcements, func(a bgp.Announcement) bool { return len(a.ASPath) == 1 })
		s.Announcements[i].ASPath = nil
		b.apply(s)
		external.has(append([]string{"172.16.0.0/16 via 127.0.0.1 path [65000]"}, toExternal[1:]...)...)
		b.learns("gw", learned...)
		s.Announcements[i].ASPath = []uint32{65010}
		b.apply(s)
		matrix()
	})
	b.run("MED and prepend change without a new session", func() {
		since := b.session("gw", "tunnel/2").Since
		s.Neighbors[1].MED, s.Neighbors[1].Prepend = nil, 1
		b.apply(s)
		toCustomer2 = []string{"10.0.0.0/16 via 127.0.0.1 path [65000 65000]"}
		matrix()
		if got := b.session("gw", "tunnel/2"); got.Since != since {
			b.Errorf("the session was disturbed: %+v", got)
		}
	})
	b.run("a muted neighbor hears nothing, keeps its session, and is heard", func() {
		since := b.session("gw", "tunnel/2").Since
		s.Neighbors[1].Mute = true
		b.apply(s)
		c2.has()
		c1.has(toCustomer1...)
		b.learns("gw", learned...)
		s.Neighbors[1].Mute = false
		b.apply(s)
		matrix()
		if got := b.session("gw", "tunnel/2"); got.Since != since {
			b.Errorf("the session was disturbed: %+v", got)
		}
	})
	b.run("transit, but not to whom the route comes from", func() {
		before := s.Announcements
		s.Announcements = append(slices.Clone(before), passOn(bgp.Customer, []uint32{65010}, "172.16.0.0/16")...)
		s.Announcements = append(s.Announcements, passOn(bgp.Customer, []uint32{65020, 65021}, "172.17.0.0/16")...)
		b.apply(s)
		c1.has(append([]string{"172.17.0.0/16 via 127.0.0.1 path [65000 65020 65021]"}, toCustomer1...)...)
		c2.has(append([]string{"172.16.0.0/16 via 127.0.0.1 path [65000 65000 65010]"}, toCustomer2...)...)
		s.Announcements = before
		b.apply(s)
		matrix()
	})
	b.run("a learned route goes only when its announcement does", func() {
		c1.withdraw("172.16.0.0/16")
		b.learns("gw", slices.DeleteFunc(slices.Clone(learned), func(l string) bool { return l == "172.16.0.0/16: tunnel/1" })...)
		matrix()
		s.Announcements = slices.DeleteFunc(s.Announcements, func(a bgp.Announcement) bool { return len(a.ASPath) == 1 })
		b.apply(s)
		toExternal, toInternal = toExternal[1:], toInternal[1:]
		matrix()
	})
	b.run("an announcement goes before its learned route does", func() {
		s.Announcements = slices.DeleteFunc(s.Announcements, func(a bgp.Announcement) bool { return len(a.ASPath) == 2 })
		b.apply(s)
		toExternal, toInternal = toExternal[1:], toInternal[1:]
		matrix()
	})
	b.run("what an attachment accepts changes", func() {
		s.Neighbors[2].Accept = prefixes("10.1.0.0/16")
		b.apply(s)
		b.learns("gw", "10.1.7.0/24: attachment/e", "10.1.8.0/24: attachment/i", "172.17.0.0/16: tunnel/2")
	})
	b.run("announced counters", func() {
		b.eventually(func() string {
			if s := b.session("gw", "attachment/e"); s.Announced != 2 {
				return "announced to attachment/e: want 2"
			}
			return ""
		})
	})
}

// settle waits until everything has been announced a second time to everybody.
func settle(b *bench) {
	b.Helper()
	b.eventually(func() string {
		v := b.d.find("gw").view
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, s := range v.sessions {
			if !s.resent {
				return s.Neighbor + " is not settled"
			}
		}
		return ""
	})
}

// stable returns the number of UPDATEs sent when for some time there have been no more.
func stable(b *bench) (n uint64) {
	b.Helper()
	same := 0
	b.eventually(func() string {
		if now := updates(b); now != n {
			n, same = now, 0
		}
		if same++; same < 40 {
			return "still sending"
		}
		return ""
	})
	return n
}

// updates counts the UPDATEs that speaker "gw" has sent.
func updates(b *bench) (n uint64) {
	_ = b.d.find("gw").server.ListPeer(b.Context(), &api.ListPeerRequest{}, func(p *api.Peer) {
		n += p.GetState().GetMessages().GetSent().GetUpdate()
	})
	return n
}
