package lab

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// WireOptions describe a wire. Prefixes are added to the respective end.
type WireOptions struct {
	A, B []string // addresses of the two ends, as prefixes
	MTU  int      // of both ends; 0 means 1500
}

// Wire is a cable between two hosts. Both ends are up.
type Wire struct {
	lab  *Lab
	ends [2]end
}

type end struct {
	host *Host
	name string
}

// Wire joins interface nameA of host a with interface nameB of host b.
func (l *Lab) Wire(a *Host, nameA string, b *Host, nameB string, o WireOptions) *Wire {
	l.t.Helper()
	attrs := linkAttrs(nameA)
	attrs.MTU = o.MTU
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.ns), PeerMTU: uint32(max(o.MTU, 0)),
	}
	l.must(a.nl.LinkAdd(veth), "wire %s %s to %s %s", a.name, nameA, b.name, nameB)
	w := &Wire{lab: l, ends: [2]end{{a, nameA}, {b, nameB}}}
	for i, prefixes := range [][]string{o.A, o.B} {
		w.ends[i].host.Up(w.ends[i].name)
		w.ends[i].host.Address(w.ends[i].name, prefixes...)
	}
	return w
}

// Cut loses every packet in both directions. The interfaces stay up and their hosts are told nothing, as when
// something in the middle of a provider's network fails.
func (w *Wire) Cut() {
	w.lab.t.Helper()
	w.CutFrom(w.ends[0].host)
	w.CutFrom(w.ends[1].host)
}

// CutFrom loses every packet that h sends over the wire, and none that it receives.
func (w *Wire) CutFrom(h *Host) {
	w.lab.t.Helper()
	w.shape(h, netlink.NetemQdiscAttrs{Loss: 100})
}

// Delay makes every packet that h sends over the wire arrive later.
func (w *Wire) Delay(h *Host, d time.Duration) {
	w.lab.t.Helper()
	w.shape(h, netlink.NetemQdiscAttrs{Latency: uint32(d.Microseconds()), Limit: 10000})
}

// Lose loses percent of the packets that h sends over the wire, at random.
func (w *Wire) Lose(h *Host, percent float32) {
	w.lab.t.Helper()
	w.shape(h, netlink.NetemQdiscAttrs{Loss: percent})
}

// Restore undoes Cut, CutFrom, Delay and Lose.
func (w *Wire) Restore() {
	w.lab.t.Helper()
	for _, e := range w.ends {
		qdiscs, err := e.host.rootQdiscs(e.name)
		for _, q := range qdiscs {
			if err == nil && q.Type() == "netem" {
				err = e.host.nl.QdiscDel(q)
			}
		}
		w.lab.must(err, "restore the wire at %s %s", e.host.name, e.name)
	}
}

func (w *Wire) shape(h *Host, netem netlink.NetemQdiscAttrs) {
	w.lab.t.Helper()
	for _, e := range w.ends {
		if e.host != h {
			continue
		}
		link, err := h.nl.LinkByName(e.name)
		if err == nil {
			attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
			err = h.nl.QdiscReplace(netlink.NewNetem(attrs, netem))
		}
		w.lab.must(err, "shape %s %s", h.name, e.name)
		return
	}
	w.lab.t.Fatalf("lab: the wire does not end at %s", h.name)
}

func (h *Host) rootQdiscs(name string) ([]netlink.Qdisc, error) {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		return nil, err
	}
	qdiscs, err := h.nl.QdiscList(link)
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	return qdiscs, nil
}
