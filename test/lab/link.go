package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Address adds addresses, as prefixes, to an interface.
func (h *Host) Address(link string, prefixes ...string) {
	h.lab.t.Helper()
	for _, prefix := range prefixes {
		h.lab.must(h.addAddress(link, prefix), "%s: address %s on %s", h.name, prefix, link)
	}
}

func (h *Host) addAddress(name, prefix string) error {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	return h.nl.AddrAdd(link, addr)
}

// Up and Down set an interface's administrative state.
func (h *Host) Up(link string)   { h.lab.t.Helper(); h.setUp(link, true) }
func (h *Host) Down(link string) { h.lab.t.Helper(); h.setUp(link, false) }

func (h *Host) setUp(name string, up bool) {
	h.lab.t.Helper()
	link, err := h.nl.LinkByName(name)
	if err == nil && up {
		err = h.nl.LinkSetUp(link)
	} else if err == nil {
		err = h.nl.LinkSetDown(link)
	}
	h.lab.must(err, "%s: set %s up=%v", h.name, name, up)
}

// Bridge creates a bridge that is up, and makes ports its members.
func (h *Host) Bridge(name string, ports ...string) {
	h.lab.t.Helper()
	h.addLink(&netlink.Bridge{LinkAttrs: linkAttrs(name)})
	for _, port := range ports {
		h.Enslave(port, name)
	}
}

// VRF creates a VRF device that is up, with its routing table.
func (h *Host) VRF(name string, table uint32) {
	h.lab.t.Helper()
	h.addLink(&netlink.Vrf{LinkAttrs: linkAttrs(name), Table: table})
}

// Enslave makes link a member of a bridge or VRF.
func (h *Host) Enslave(link, master string) {
	h.lab.t.Helper()
	l, err := h.nl.LinkByName(link)
	if err == nil {
		var m netlink.Link
		if m, err = h.nl.LinkByName(master); err == nil {
			err = h.nl.LinkSetMaster(l, m)
		}
	}
	h.lab.must(err, "%s: enslave %s to %s", h.name, link, master)
}

// Xfrm creates an XFRM interface that is up, over the interface underlay. An mtu of 0 leaves the kernel's.
func (h *Host) Xfrm(name string, ifID uint32, underlay string, mtu int) {
	h.lab.t.Helper()
	under, err := h.nl.LinkByName(underlay)
	h.lab.must(err, "%s: XFRM interface %s over %s", h.name, name, underlay)
	attrs := linkAttrs(name)
	attrs.ParentIndex, attrs.MTU = under.Attrs().Index, mtu
	h.addLink(&netlink.Xfrmi{LinkAttrs: attrs, Ifid: ifID})
}

func (h *Host) addLink(link netlink.Link) {
	h.lab.t.Helper()
	err := h.nl.LinkAdd(link)
	if err == nil {
		err = h.nl.LinkSetUp(link)
	}
	h.lab.must(err, "%s: add %s %s", h.name, link.Type(), link.Attrs().Name)
}

func linkAttrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// Route adds or replaces the route to prefix ("default" for both 0.0.0.0/0 and, with IPv6 hops, ::/0). A hop is an
// address, an interface, or "address%interface"; several hops share the traffic.
func (h *Host) Route(prefix string, hops ...string) {
	h.lab.t.Helper()
	h.RouteTable(unix.RT_TABLE_MAIN, prefix, hops...)
}

// RouteTable is Route for a table other than main, a VRF's for example.
func (h *Host) RouteTable(table int, prefix string, hops ...string) {
	h.lab.t.Helper()
	route, err := h.parseRoute(prefix, hops)
	if err == nil {
		route.Table = table
		err = h.nl.RouteReplace(route)
	}
	h.lab.must(err, "%s: route %s via %q", h.name, prefix, hops)
}

// RemoveRoute deletes what Route added.
func (h *Host) RemoveRoute(prefix string, hops ...string) {
	h.lab.t.Helper()
	route, err := h.parseRoute(prefix, hops)
	if err == nil {
		err = h.nl.RouteDel(route)
	}
	h.lab.must(err, "%s: remove the route %s via %q", h.name, prefix, hops)
}

func (h *Host) parseRoute(prefix string, hops []string) (*netlink.Route, error) {
	if len(hops) == 0 {
		return nil, errors.New("no next hop")
	}
	var next []*netlink.NexthopInfo
	v6 := false
	for _, hop := range hops {
		n := &netlink.NexthopInfo{}
		address, device, _ := strings.Cut(hop, "%")
		if ip, err := netip.ParseAddr(address); err == nil {
			n.Gw = net.IP(ip.AsSlice())
			v6 = v6 || ip.Is6()
		} else {
			device = address
		}
		if device != "" {
			link, err := h.nl.LinkByName(device)
			if err != nil {
				return nil, err
			}
			n.LinkIndex = link.Attrs().Index
		}
		next = append(next, n)
	}
	switch {
	case prefix == "default" && v6:
		prefix = "::/0"
	case prefix == "default":
		prefix = "0.0.0.0/0"
	}
	_, dst, err := net.ParseCIDR(prefix)
	if err != nil {
		return nil, err
	}
	route := &netlink.Route{Dst: dst}
	if len(next) == 1 {
		route.Gw, route.LinkIndex = next[0].Gw, next[0].LinkIndex
	} else {
		route.MultiPath = next
	}
	return route, nil
}

// LinkStats are an interface's counters.
type LinkStats struct {
	RxPackets, TxPackets, RxBytes, TxBytes, RxDropped, TxDropped, RxErrors, TxErrors uint64
}

// LinkStats reads the counters of an interface.
func (h *Host) LinkStats(name string) (LinkStats, error) {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		return LinkStats{}, fmt.Errorf("%s: %s: %w", h.name, name, err)
	}
	s := link.Attrs().Statistics
	if s == nil {
		return LinkStats{}, fmt.Errorf("%s: %s: no statistics", h.name, name)
	}
	return LinkStats{
		RxPackets: s.RxPackets, TxPackets: s.TxPackets, RxBytes: s.RxBytes, TxBytes: s.TxBytes,
		RxDropped: s.RxDropped, TxDropped: s.TxDropped, RxErrors: s.RxErrors, TxErrors: s.TxErrors,
	}, nil
}

// FlushXfrm removes all IPsec states and policies, as a reboot does. A charon that was killed leaves them, and they go
// on to carry traffic.
func (h *Host) FlushXfrm() {
	h.lab.t.Helper()
	h.lab.must(errors.Join(h.nl.XfrmStateFlush(netlink.Proto(0)), h.nl.XfrmPolicyFlush()), "%s: flush IPsec", h.name)
}

// MisleadPolicies points the outbound IPsec policies of an if_id at an SPI that leads nowhere, and returns how many there were.
func (h *Host) MisleadPolicies(ifID uint32, spi int) int {
	h.lab.t.Helper()
	policies, err := h.nl.XfrmPolicyList(netlink.FAMILY_ALL)
	n := 0
	for _, p := range policies {
		if err != nil || p.Dir != netlink.XFRM_DIR_OUT || uint32(p.Ifid) != ifID || len(p.Tmpls) == 0 {
			continue
		}
		n++
		p.Tmpls[0].Spi = spi
		err = h.nl.XfrmPolicyUpdate(&p)
	}
	h.lab.must(err, "%s: mislead the policies of if_id %d", h.name, ifID)
	return n
}

// XfrmSPIs lists the SPIs of the IPsec states of an if_id, those without keys left out, in decimal and sorted.
func (h *Host) XfrmSPIs(ifID uint32) []int {
	h.lab.t.Helper()
	states, err := h.nl.XfrmStateList(netlink.FAMILY_ALL)
	h.lab.must(err, "%s: list IPsec states", h.name)
	var spis []int
	for _, s := range states {
		if uint32(s.Ifid) == ifID && (s.Aead != nil || s.Crypt != nil) {
			spis = append(spis, s.Spi)
		}
	}
	slices.Sort(spis)
	return spis
}

// XfrmStat reads the host's /proc/net/xfrm_stat, which counts why packets of IPsec were dropped.
func (h *Host) XfrmStat() (map[string]uint64, error) {
	stat := map[string]uint64{}
	err := h.Do(func() error {
		// Not /proc/net: that is the namespace of the process's first thread.
		data, err := os.ReadFile("/proc/thread-self/net/xfrm_stat")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) == 2 {
				if stat[f[0]], err = strconv.ParseUint(f[1], 10, 64); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return stat, err
}
