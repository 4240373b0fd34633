package ctl

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// layer is one row of a tunnel's picture.
type layer struct {
	name, state, detail string
	// failing marks the one layer that keeps the tunnel down: the first, from the outside in, that is not well.
	failing bool
}

// layersOf lists a tunnel's layers from the outside in.
func layersOf(t *apiv1.VPNTunnel) []layer {
	st := t.GetStatus()
	// A probe that was never answered is not armed and fails nothing.
	probeWell := st.GetProbe() != apiv1.ProbeFailing
	childWell := st.GetChild() == apiv1.ChildInstalled || st.GetChild() == apiv1.ChildRekeying
	type layerRow struct {
		layer
		well bool
	}
	rows := []layerRow{
		{layer{name: "admin", state: st.GetAdmin()}, st.GetAdmin() == apiv1.AdminStateUp},
		// An installed CHILD_SA carries traffic while its IKE_SA is being made anew.
		{layer{name: "ike", state: st.GetIke(), detail: ikeDetail(st.GetNegotiated())}, st.GetIke() == apiv1.IKEEstablished || childWell},
		{layer{name: "child", state: st.GetChild(), detail: childDetail(st)}, childWell},
		{layer{name: "interface", state: st.GetInterface(), detail: interfaceDetail(st)}, st.GetInterface() == apiv1.InterfaceUp},
		// BGP is reported beside the others and does not decide.
		{layer{name: "bgp", state: st.GetBgp(), detail: bgpDetail(st.GetBgpSession())}, true},
		{layer{name: "probe", state: st.GetProbe(), detail: probeDetail(st.GetCounters())}, probeWell},
	}
	if st.GetBfdSession() != nil {
		rows = slices.Insert(rows, len(rows)-1, layerRow{layer{name: "bfd", state: st.GetBfd(), detail: bfdDetail(st.GetBfdSession())}, true})
	}
	named := st.GetRunning() == apiv1.RunningUp || st.GetReason() == ""
	out := make([]layer, 0, len(rows))
	for _, r := range rows {
		r.failing = !r.well && !named
		named = named || r.failing
		out = append(out, r.layer)
	}
	return out
}

func ikeDetail(n *apiv1.Negotiated) string {
	if n == nil {
		return ""
	}
	text := fmt.Sprintf("IKEv%d %s", n.GetIkeVersion(), n.GetIkeSuite())
	if n.GetNatT() {
		text += ", NAT-T"
	}
	return text
}

func childDetail(st *apiv1.VPNTunnelStatus) string {
	if len(st.GetChildSas()) == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%d installed, %s", len(st.GetChildSas()), st.GetNegotiated().GetEspSuite()))
}

func interfaceDetail(st *apiv1.VPNTunnelStatus) string {
	if st.GetInterfaceName() == "" {
		return ""
	}
	return fmt.Sprintf("%s, if_id %d, MTU %d", st.GetInterfaceName(), st.GetIfId(), st.GetMtu())
}

func bgpDetail(s *apiv1.BGPSession) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("AS %d to AS %d, %d prefixes accepted", s.GetLocalAsn(), s.GetPeerAsn(), s.GetPrefixesAccepted())
}

func bfdDetail(b *apiv1.BFDSession) string {
	text := fmt.Sprintf("peer %s, detection %v", b.GetPeerState(), b.GetDetection().AsDuration())
	if b.GetArmed() && b.GetState() != apiv1.BFDUp {
		text += ", nothing is routed over the tunnel"
	}
	if b.GetMessage() != "" {
		text += ", " + b.GetMessage()
	}
	return text
}

func probeDetail(c *apiv1.Counters) string {
	if c.GetProbesSent() == 0 {
		return ""
	}
	text := fmt.Sprintf("%d of %d lost", c.GetProbesLost(), c.GetProbesSent())
	if c.GetProbeRtt() != nil {
		text = "rtt " + c.GetProbeRtt().AsDuration().Round(10*time.Microsecond).String() + ", " + text
	}
	return text
}
