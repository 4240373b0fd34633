package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// happened are the events that lie between two fragments of one gateway.
func happened(old, new fragment) []*apiv1.HostEvent {
	var out []*apiv1.HostEvent
	before := map[string]*apiv1.VPNTunnelStatus{}
	for _, t := range old.tunnels {
		before[t.GetName()] = t.GetStatus()
	}
	for _, t := range new.tunnels {
		out = append(out, tunnelEvents(t.GetName(), before[t.GetName()], t.GetStatus())...)
		delete(before, t.GetName())
	}
	for _, name := range apiv1.Names(before) {
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventTunnelGone, Object: apiv1.ObjectName(apiv1.KindVPNTunnel, name)})
	}
	return append(append(out, connectionEvents(old, new)...), gatewayEvents(old.gateway, new.gateway)...)
}

// tunnelEvents are those of one tunnel; old is nil when it is new.
func tunnelEvents(name string, old, new *apiv1.VPNTunnelStatus) []*apiv1.HostEvent {
	object := apiv1.ObjectName(apiv1.KindVPNTunnel, name)
	var out []*apiv1.HostEvent
	if old.GetRunning() != new.GetRunning() || old.GetReason() != new.GetReason() {
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventTunnelRunning, Object: object, Old: old.GetRunning(), New: new.GetRunning(),
			Reason: new.GetReason(), Message: new.GetMessage()})
	}
	if old == nil {
		return out
	}
	if old.GetRunning() == new.GetRunning() && !proto.Equal(old.GetSince(), new.GetSince()) {
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventTunnelRunning, Object: object, Old: old.GetRunning(), New: new.GetRunning(),
			Message: "it was DOWN for a moment; the tunnel's log says why"})
	}
	for _, l := range []struct{ name, old, new string }{
		{"admin", old.GetAdmin(), new.GetAdmin()},
		{"ike", steady(old.GetIke()), steady(new.GetIke())},
		{"child", steady(old.GetChild()), steady(new.GetChild())},
		{"interface", old.GetInterface(), new.GetInterface()},
		{"bfd", steady(old.GetBfd()), steady(new.GetBfd())},
		{"probe", old.GetProbe(), new.GetProbe()},
	} {
		if l.old != l.new {
			out = append(out, &apiv1.HostEvent{Type: apiv1.EventTunnelLayer, Object: object, Field: l.name, Old: l.old, New: l.new})
		}
	}
	if e := sessionEvent(old.GetBgp(), new.GetBgp()); e != nil {
		e.Object, e.Message = object, new.GetBgpSession().GetMessage()
		out = append(out, e)
	}
	return out
}

// steady leaves out the states on the way: every attempt of a tunnel that stays down would be an event.
func steady(state string) string {
	switch state {
	case apiv1.IKEConnecting, "INIT":
		return apiv1.IKEDown
	case apiv1.ChildRekeying:
		return apiv1.ChildInstalled
	}
	return state
}

// sessionEvent tells of a session that came or ended, nil otherwise.
func sessionEvent(old, new string) *apiv1.HostEvent {
	if (old == apiv1.BGPEstablished) == (new == apiv1.BGPEstablished) {
		return nil
	}
	return &apiv1.HostEvent{Type: apiv1.EventBGPSession, Old: old, New: new}
}

func connectionEvents(old, new fragment) []*apiv1.HostEvent {
	before := map[string]*apiv1.VPNConnectionStatus{}
	for _, c := range old.connections {
		before[c.GetConnection().GetName()] = c.GetConnection().GetStatus()
	}
	var out []*apiv1.HostEvent
	for _, c := range new.connections {
		was, is := before[c.GetConnection().GetName()], c.GetConnection().GetStatus()
		if was.GetAvailability() != is.GetAvailability() || !slices.Equal(was.GetReasons(), is.GetReasons()) {
			out = append(out, &apiv1.HostEvent{Type: apiv1.EventConnectionAvailability, Object: apiv1.ObjectName(apiv1.KindVPNConnection,
				c.GetConnection().GetName()), Old: was.GetAvailability(), New: is.GetAvailability(), Reason: strings.Join(is.GetReasons(), ","),
				Message: strings.Join(is.GetMessages(), " ")})
		}
	}
	return out
}

func gatewayEvents(old, new *apiv1.BorderGateway) []*apiv1.HostEvent {
	object := apiv1.ObjectName(apiv1.KindBorderGateway, new.GetName())
	var out []*apiv1.HostEvent
	if was, is := old.GetStatus().GetProgrammed(), new.GetStatus().GetProgrammed(); old == nil || was != is {
		e := &apiv1.HostEvent{Type: apiv1.EventGatewayProgrammed, Object: object, New: fmt.Sprint(is)}
		if old != nil {
			e.Old = fmt.Sprint(was)
		}
		for _, c := range new.GetStatus().GetConditions() {
			e.Reason, e.Message = cmp.Or(e.Reason, c.GetType()), cmp.Or(e.Message, c.GetObject()+": "+c.GetMessage())
		}
		out = append(out, e)
	}
	before := map[string]string{}
	for _, a := range old.GetStatus().GetAttachments() {
		before[a.GetName()] = a.GetBgp()
	}
	for _, a := range new.GetStatus().GetAttachments() {
		if e := sessionEvent(before[a.GetName()], a.GetBgp()); e != nil {
			e.Object, e.Field, e.Message = object, a.GetName(), a.GetMessage()
			out = append(out, e)
		}
	}
	return out
}

// hostEvents are those between two looks at the agent itself; old is nil before the first.
func hostEvents(old, new *apiv1.GetHostResponse) []*apiv1.HostEvent {
	object := apiv1.ObjectName("Host", new.GetHost())
	var out []*apiv1.HostEvent
	if !old.GetReady() && new.GetReady() {
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventAgentReady, Object: object, Message: new.GetVersion()})
	}
	switch was, is := old.GetCharonConnected(), new.GetCharonConnected(); {
	case is && !was:
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventCharonConnected, Object: object, Message: "charon " + new.GetCharonVersion()})
	case was && !is:
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventCharonLost, Object: object})
	}
	source := new.GetSource()
	if old.GetSource().GetGeneration() != source.GetGeneration() {
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventSourceAccepted, Object: object, New: fmt.Sprint(source.GetGeneration()),
			Message: source.GetSource()})
	}
	if why := refusal(source); why != "" && why != refusal(old.GetSource()) {
		out = append(out, &apiv1.HostEvent{Type: apiv1.EventSourceRefused, Object: object, Message: why})
	}
	return out
}

// refusal is the first reason why the newest desired state is not in force; empty when it is.
func refusal(s *apiv1.SourceStatus) string {
	if s.GetRefused() == nil {
		return ""
	}
	errors := slices.DeleteFunc(slices.Clone(s.GetFindings()), func(f *apiv1.Finding) bool { return f.GetWarning() })
	if len(errors) == 0 {
		return "refused"
	}
	text := manifest.Format(errors[0])
	if more := len(errors) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}
