package ctl

import (
	"context"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// eventsAt shows what a controller has seen last and, with watch, goes on until ctx ends.
func (s *session) eventsAt(ctx context.Context, c *central, last uint32, watch bool) error {
	if !watch {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
		answers, err := received(c.fleet.WatchEvents(ctx, &apiv1.WatchEventsRequest{Last: last, Once: true}))
		if err != nil {
			return told(err)
		}
		var all []*apiv1.HostEvent
		for _, a := range answers {
			all = append(all, hostEvent(a.GetEvent()))
		}
		if len(all) == 0 && (s.format() == formatTable || s.format() == formatWide) {
			return nil
		}
		return show(s.Stdout, s.format(), eventColumns(), all, encodeEvent)
	}
	stream, err := c.fleet.WatchEvents(ctx, &apiv1.WatchEventsRequest{Last: last})
	if err != nil {
		return told(err)
	}
	defer func() { _ = stream.Close() }() // what it had to say was read
	for stream.Receive() {
		if stream.Msg().GetEvent() == nil {
			continue
		}
		e := hostEvent(stream.Msg().GetEvent())
		if err := writeEntry(s.Stdout, s.format(), encodeEvent(e), eventLine(e)); err != nil {
			return failure{err}
		}
	}
	if err := stream.Err(); err != nil && ctx.Err() == nil {
		return told(err)
	}
	return nil
}

// hostEvent is a controller's event in the words of agents.
func hostEvent(e *apiv1.Event) *apiv1.HostEvent {
	kind, _, _ := strings.Cut(e.GetObject(), "/")
	types := map[string]string{apiv1.KindVPNTunnel: apiv1.EventTunnelRunning, apiv1.KindVPNConnection: apiv1.EventConnectionAvailability,
		apiv1.KindGatewayHost: apiv1.EventHostState}
	return &apiv1.HostEvent{Time: e.GetTime(), Type: types[kind], Host: e.GetHost(), Object: e.GetObject(), Old: e.GetBefore(), New: e.GetState(),
		Reason: strings.Join(e.GetReasons(), ","), Message: e.GetMessage()}
}
