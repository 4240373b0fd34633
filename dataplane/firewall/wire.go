package firewall

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
)

// Endpoints are the outer addresses of a tunnel, as they are in the packets that the host itself receives and sends.
type Endpoints struct{ Local, Remote netip.Addr }

// Traffic is what was counted of one tunnel's encrypted packets: ESP (RFC 4303), and ESP in UDP (RFC 3948) at the local
// port 4500. IKE and NAT keepalives at that port are not counted. Bytes are those of IP packets: the outer IP header
// counts, the link layer's does not.
//
// Packets are counted where the host takes them in for itself, before they are checked and decrypted (hook input), and
// where it sends them, after they are encrypted (hook output). So a packet that was fragmented on its way counts once, as
// the whole packet; fragments of received IPv6 packets are seen one by one there
// (net/ipv6/ip6_input.c), and of those of ESP in UDP only the first counts.
//
// Where the module esp4_offload or esp6_offload is loaded, which the kernel does for devices that encrypt, received ESP
// goes around the firewall (net/ipv4/esp4_offload.c, esp4_gro_receive) and is not counted.
type Traffic struct{ In, Out Counters }

// flow is one direction of the traffic between two endpoints.
type flow struct {
	Endpoints
	out bool
}

func compareFlows(a, b flow) int {
	if c := cmp.Or(a.Local.Compare(b.Local), a.Remote.Compare(b.Remote)); c != 0 {
		return c
	}
	switch {
	case a.out == b.out:
		return 0
	case b.out:
		return -1
	}
	return 1
}

// endpoints returns the tunnel's outer addresses; ok is false when its traffic cannot be counted.
func (t Tunnel) endpoints() (e Endpoints, ok bool) {
	e = Endpoints{t.Local.Unmap().WithZone(""), t.Remote.Unmap().WithZone("")}
	return e, e.Local.IsValid() && e.Remote.IsValid() && e.Local.Is4() == e.Remote.Is4()
}

// meter goes on where a counter in the kernel begins anew.
type meter struct {
	// before is what earlier counters came to, last what the present one had when it was read.
	before, last Counters
}

func (c Counters) plus(o Counters) Counters {
	return Counters{c.Packets + o.Packets, c.Bytes + o.Bytes}
}

func (m meter) total() Counters { return m.before.plus(m.last) }

// renewed says that the kernel's counter is a new one, which starts at 0.
func (m meter) renewed() meter { return meter{before: m.total()} }

// read takes what the kernel's counter says. One that went back is another one, whoever made it.
func (m meter) read(c Counters) meter {
	if c.Packets < m.last.Packets || c.Bytes < m.last.Bytes {
		m = m.renewed()
	}
	m.last = c
	return m
}

// Wire reads the encrypted traffic of all tunnels by their outer addresses, which is one look at four sets. Totals never go
// back while the process lives; a restarted one goes on with what the kernel has.
//
// Missing are tunnels without addresses, those of which nothing was ever read, and those that have both addresses in common
// with another tunnel, as customers behind one NAT may: their packets cannot be told apart.
func (d *Driver) Wire(ctx context.Context) (map[Endpoints]Traffic, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.readWire(); err != nil {
		return nil, err
	}
	out := make(map[Endpoints]Traffic)
	for e, users := range d.users() {
		in, seenIn := d.meters[flow{e, false}]
		sent, seenOut := d.meters[flow{e, true}]
		if users == 1 && seenIn && seenOut {
			out[e] = Traffic{In: in.total(), Out: sent.total()}
		}
	}
	return out, nil
}

// users says how many tunnels have the same outer addresses; the caller holds d.mu.
func (d *Driver) users() map[Endpoints]int {
	out := make(map[Endpoints]int)
	for _, g := range d.gateways {
		for _, t := range g.Tunnels {
			if e, ok := t.endpoints(); ok {
				out[e]++
			}
		}
	}
	return out
}

// readWire reads the kernel's counters into the meters; the caller holds d.mu. What cannot be found there stays as it is.
func (d *Driver) readWire() error {
	if !d.exists {
		return nil
	}
	counted, err := d.kernel.wire()
	if err != nil {
		return fmt.Errorf("read counters of encrypted packets: %w", err)
	}
	users := d.users()
	for f, c := range counted {
		if users[f.Endpoints] > 0 {
			d.meters[f] = d.meters[f].read(c)
		}
	}
	return nil
}

// renew tells the meters which of the kernel's counters are new, and forgets those of tunnels that are gone; the caller
// holds d.mu.
func (d *Driver) renew(have, want map[flow]bool) {
	users := d.users()
	for f, m := range d.meters {
		switch {
		case users[f.Endpoints] == 0:
			delete(d.meters, f)
		case want[f] && !have[f]:
			d.meters[f] = m.renewed()
		}
	}
}
