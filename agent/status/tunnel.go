package status

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// tunnelStatus is the layers as the API shows them.
func tunnelStatus(l Layers, j Judgement, since time.Time, host string) *apiv1.VPNTunnelStatus {
	out := &apiv1.VPNTunnelStatus{
		Admin: apiv1.AdminStateUp, Running: apiv1.RunningUp, Reason: j.Reason, Message: j.Message, Since: stamp(since), Host: host,
		Ike: string(l.Charon.IKE), Child: child(l.Charon), Interface: interfaceLayer(l.Interface),
		Bgp: apiv1.BGPOff, Probe: l.Probe.State,
		Bfd: apiv1.BFDOff, BfdSession: bfdSession(l.BFD),
		Negotiated: negotiated(l.Charon), Counters: counters(l),
		InterfaceName: l.Interface.Name,
	}
	if !l.AdminUp {
		out.Admin = apiv1.AdminStateDown
	}
	if !j.Up {
		out.Running = apiv1.RunningDown
	}
	if out.Ike == "" {
		out.Ike = apiv1.IKEDown
	}
	if out.Probe == "" {
		out.Probe = probe.StateOff
	}
	if l.BGPWanted {
		out.Bgp = apiv1.BGPIdle
	}
	if l.BGP != nil {
		out.Bgp = string(l.BGP.State)
		out.BgpSession = session(l.BGP)
	}
	if out.BfdSession != nil {
		out.Bfd = out.BfdSession.State
	}
	for _, c := range l.Charon.Children {
		out.ChildSas = append(out.ChildSas, &apiv1.ChildSA{UniqueId: c.UniqueID, IkeUniqueId: c.IKEUniqueID, State: c.State,
			SpiIn: c.SPIIn, SpiOut: c.SPIOut, Suite: suiteText(c.Suite), Installed: stamp(c.Installed)})
	}
	return out
}

func child(s charon.State) string {
	if len(s.Children) == 0 {
		return apiv1.ChildDown
	}
	for _, c := range s.Children {
		if c.State == apiv1.ChildInstalled {
			return apiv1.ChildInstalled
		}
	}
	return apiv1.ChildRekeying
}

func interfaceLayer(s link.InterfaceState) string {
	switch {
	case !s.Exists:
		return apiv1.InterfaceMissing
	case !s.OperUp:
		return apiv1.InterfaceDown
	}
	return apiv1.InterfaceUp
}

func negotiated(s charon.State) *apiv1.Negotiated {
	if s.IKE != charon.IKEEstablished && !s.Up() {
		return nil
	}
	out := &apiv1.Negotiated{IkeVersion: uint32(s.IKEVersion), IkeSuite: suiteText(s.IKESuite), EspSuite: suiteText(s.ESPSuite),
		PostQuantum: s.IKESuite.PostQuantum(), NatT: s.NATT, LocalId: s.LocalID, RemoteId: s.RemoteID}
	if s.RemoteEndpoint.IsValid() {
		out.RemoteEndpoint = s.RemoteEndpoint.String()
	}
	return out
}

// suiteText joins what was agreed on in the order in which charon prints it.
func suiteText(s charon.Suite) string {
	if s.Encryption == "" {
		return ""
	}
	words := []string{s.Encryption}
	if s.KeySize != 0 {
		words[0] += "-" + strconv.Itoa(s.KeySize)
	}
	for _, w := range append([]string{s.Integrity, s.PRF, s.DH}, s.KE...) {
		if w != "" {
			words = append(words, w)
		}
	}
	if s.ESN {
		words = append(words, "ESN")
	}
	return strings.Join(words, "/")
}

func counters(l Layers) *apiv1.Counters {
	t := l.Charon.Traffic
	out := &apiv1.Counters{BytesIn: t.BytesIn, BytesOut: t.BytesOut, PacketsIn: t.PacketsIn, PacketsOut: t.PacketsOut,
		Establishments: l.Charon.Establishments, Rekeys: l.Charon.Rekeys, IkeRekeys: l.Charon.IKERekeys, Failures: l.Charon.Failures,
		Renegotiations: l.Charon.Renegotiations, DuplicatesClosed: l.Charon.DuplicatesClosed,
		ProbesSent: l.Probe.Sent, ProbesLost: l.Probe.Lost}
	if l.Probe.RTT > 0 {
		out.ProbeRtt = durationpb.New(l.Probe.RTT)
	}
	if l.Wire != nil {
		in, sent := l.Wire.In, l.Wire.Out
		out.WireBytesIn, out.WireBytesOut = &in.Bytes, &sent.Bytes
		out.WirePacketsIn, out.WirePacketsOut = &in.Packets, &sent.Packets
	}
	if e := l.Errors; e != nil {
		out.XfrmErrors = &apiv1.XfrmErrors{OutsideWindow: e.OutsideWindow, Replayed: e.Replayed, IntegrityFailed: e.IntegrityFailed}
	}
	return out
}

func session(s *bgp.Session) *apiv1.BGPSession {
	out := &apiv1.BGPSession{State: string(s.State), LocalAsn: s.LocalASN, PeerAsn: s.PeerASN, Since: stamp(s.Since), Message: s.Message,
		PrefixesReceived: s.Received, PrefixesAccepted: s.Accepted, PrefixesAnnounced: s.Announced,
		NextTry: stamp(s.NextTry), LimitExceeded: s.Exceeded}
	if s.LocalAddress.IsValid() {
		out.LocalAddress = s.LocalAddress.String()
	}
	if s.PeerAddress.IsValid() {
		out.PeerAddress = s.PeerAddress.String()
	}
	return out
}

func bfdSession(s bfd.State) *apiv1.BFDSession {
	if s.State == "" || s.State == bfd.StateOff {
		return nil
	}
	out := &apiv1.BFDSession{State: s.State, PeerState: s.Peer, Since: stamp(s.Since), Message: s.Diagnostic, Armed: s.Armed, Downs: s.Downs}
	if s.Detection > 0 {
		out.Detection = durationpb.New(s.Detection)
	}
	if s.Interval > 0 {
		out.Interval = durationpb.New(s.Interval)
	}
	return out
}

// stamp gives whole seconds: nobody reads more, and a status that is equal stays equal.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t.Truncate(time.Second))
}
