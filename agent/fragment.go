package agent

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/link"
)

// fragment is one gateway's part of the published view. It is immutable once handed over.
type fragment struct {
	gateway     *apiv1.BorderGateway
	connections []*apiv1.ConnectionView
	tunnels     []*apiv1.VPNTunnel
	routes      []*apiv1.Route
	logs        map[string][]*apiv1.LogEntry
	stats       status.ReconcileStats
}

// fragment is what readers see of the gateway after a round.
func (w *worker) fragment(d desired, p plan.Plan, layers map[string]status.Layers, found problems) fragment {
	g := d.plan
	conditions := found.conditions(w.conditions, w.now())
	w.conditions = conditions
	refusals := refusalsOf(w.drivers.BGP.Refused(g.Name))
	out := fragment{routes: slices.Concat(p.Routing.Routes, g.RefusedRoutes(refusals.list)), logs: map[string][]*apiv1.LogEntry{}, stats: w.stats}
	statuses := map[string]*apiv1.VPNTunnelStatus{}
	mtus := map[string]int{}
	for _, l := range p.Link.Interfaces {
		mtus[l.Tunnel] = l.MTU
	}
	up := uint32(0)
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		st, changed := w.tracker.Tunnel(t.Name, layers[t.Name])
		if changed {
			w.log.Info("tunnel", "tunnel", t.Name, "running", st.GetRunning(), "reason", st.GetReason(), "message", st.GetMessage())
		}
		st.IfId = t.IfID
		if st.GetBgpSession() != nil {
			st.BgpSession.Refused = refusals.count[plan.TunnelNeighbor(t.Name)]
		}
		st.InterfaceName = t.Interface
		st.Mtu = uint32(mtus[t.Name])
		st.Conditions = about(conditions, apiv1.KindVPNTunnel+"/"+t.Name)
		st.Conditions = append(st.Conditions, d.warnings[t.Name]...)
		st.Conditions = append(st.Conditions, rotation(t.Name, layers[t.Name])...)
		st.Conditions = append(st.Conditions, localConditions(t)...)
		st.Local = t.Local
		statuses[t.Name] = st
		if st.GetRunning() == apiv1.RunningUp {
			up++
		}
		res := d.set.Tunnels[t.Name]
		out.tunnels = append(out.tunnels, &apiv1.VPNTunnel{Kind: apiv1.KindVPNTunnel, Name: t.Name, Spec: res.GetSpec(), Status: st})
		out.logs[t.Name] = w.tracker.Logs(t.Name)
	}
	out.connections = w.connections(d, statuses)
	res := d.set.BorderGateways[g.Name]
	out.gateway = &apiv1.BorderGateway{Kind: apiv1.KindBorderGateway, Name: g.Name, Spec: res.GetSpec(), Status: &apiv1.BorderGatewayStatus{
		Host: w.host, Vrf: g.VRF, Table: g.Table, Programmed: len(found.list) == 0,
		Connections: uint32(len(out.connections)), Tunnels: uint32(len(g.Tunnels)), TunnelsUp: up,
		Routes: uint32(len(p.Routing.Desired.Routes)), Conditions: conditions, Attachments: w.attachments(g),
		BgpRoutes: uint32(p.Routing.Learned), BgpRoutesQuota: uint32(g.MaxBGPRoutes), BgpRoutesOverQuota: uint32(p.Routing.OverQuota),
	}}
	return out
}

// connections are those with a tunnel on this host, each with all of its tunnels: the ones of other hosts without a status, which
// counts as down.
func (w *worker) connections(d desired, statuses map[string]*apiv1.VPNTunnelStatus) []*apiv1.ConnectionView {
	var out []*apiv1.ConnectionView
	for _, c := range d.connections {
		view := &apiv1.ConnectionView{CustomerGateway: d.set.CustomerGateways[c.GetSpec().GetCustomerGateway()]}
		own := false
		for _, t := range d.tunnels[c.GetName()] {
			st, ours := statuses[t.GetName()]
			own = own || ours
			view.Tunnels = append(view.Tunnels, &apiv1.VPNTunnel{Kind: apiv1.KindVPNTunnel, Name: t.GetName(), Spec: t.GetSpec(), Status: st})
		}
		if !own && !w.ownsAddressOf(c) {
			continue
		}
		verdict := apiv1.Evaluate(c, view.CustomerGateway, view.Tunnels)
		if d.set.HostOnly {
			// The verdict is the controller's: it knows the other hosts' tunnels.
			verdict = &apiv1.VPNConnectionStatus{Tunnels: verdict.GetTunnels(), TunnelsUp: verdict.GetTunnelsUp()}
		} else {
			w.tracker.Connection(c.GetName(), verdict)
		}
		view.Connection = &apiv1.VPNConnection{Kind: apiv1.KindVPNConnection, Name: c.GetName(), Spec: c.GetSpec(), Status: verdict}
		out = append(out, view)
	}
	return out
}

func (w *worker) ownsAddressOf(c *apiv1.VPNConnection) bool {
	for _, text := range c.GetSpec().GetCloudAddresses() {
		if addr, err := netip.ParseAddr(text); err == nil && w.owns(addr) {
			return true
		}
	}
	return false
}

func (w *worker) attachments(g *plan.Gateway) []*apiv1.AttachmentStatus {
	sessions := map[string]bgp.Session{}
	for _, s := range w.drivers.BGP.Sessions(g.Name) {
		sessions[s.Neighbor] = s
	}
	var out []*apiv1.AttachmentStatus
	for i := range g.Attachments {
		a := &g.Attachments[i]
		st := &apiv1.AttachmentStatus{Name: a.Name, Interface: apiv1.InterfaceUp}
		switch m := w.links.Members[a.Interface]; {
		case !m.Exists:
			st.Interface = apiv1.InterfaceMissing
		case !m.OperUp || !m.Enslaved:
			st.Interface = apiv1.InterfaceDown
		}
		if err := w.links.Errors[link.ObjectMember+a.Interface]; err != nil {
			st.Message = err.Error()
		}
		if a.Peer.IsValid() {
			st.Bgp = apiv1.BGPIdle
			if s, ok := sessions[plan.AttachmentNeighbor(a.Name)]; ok {
				st.Bgp, st.PrefixesReceived, st.PrefixesAnnounced = string(s.State), s.Received, s.Announced
				if st.Message == "" {
					st.Message = s.Message
				}
			}
		}
		out = append(out, st)
	}
	return out
}

func about(conditions []*apiv1.Condition, object string) []*apiv1.Condition {
	var out []*apiv1.Condition
	for _, c := range conditions {
		if c.GetObject() == object || strings.HasPrefix(c.GetObject(), object+"/") {
			out = append(out, c)
		}
	}
	return out
}
