package ctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func (s *session) eventsCommand() *cobra.Command {
	var watch bool
	var last uint32
	c := &cobra.Command{
		Use: "events", Short: "What has happened on the hosts, and with -w what happens", Args: cobra.NoArgs,
		Long: `What has happened on the hosts, and with -w what happens.

Agents tell everything that they see. A controller tells the states of tunnels, connections and hosts, of the whole fleet: what it has
seen itself, and from before its start the transitions of connections and since when tunnels and hosts are as they are.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if central, err := s.central(); err != nil {
				return err
			} else if central != nil {
				defer central.close()
				return s.eventsAt(c.Context(), central, last, watch)
			}
			if watch {
				return s.follow(c.Context(), last)
			}
			return s.events(c.Context(), last)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on until interrupted")
	c.Flags().Uint32VarP(&last, "last", "n", 50, "how many of the last events of each host come first")
	return c
}

func (s *session) logsCommand() *cobra.Command {
	logs := &cobra.Command{Use: "logs tunnel NAME", Short: "A tunnel's negotiation log, and with -f what is added to it", RunE: what("logs", "tunnel")}
	var follow bool
	var since time.Duration
	tunnel := &cobra.Command{
		Use: "tunnel NAME", Short: "The last exchanges with the customer's device, in charon's words, and the tunnel's changes of state",
		Args: cobra.ExactArgs(1), ValidArgsFunction: s.tunnelNames(),
		RunE: func(c *cobra.Command, args []string) error {
			if since < 0 {
				return fmt.Errorf("--since: %s is negative", since)
			}
			return s.logs(c.Context(), args[0], since, follow)
		},
	}
	tunnel.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	tunnel.Flags().DurationVar(&since, "since", 0, "leave out what is older, such as 10m; 0 for nothing")
	logs.AddCommand(tunnel)
	return logs
}

func eventColumns() []column[*apiv1.HostEvent] {
	type event = *apiv1.HostEvent
	return []column[event]{
		{title: "TIME", cell: func(e event) string { return formatMillis(e.GetTime()) }},
		{title: "HOST", cell: event.GetHost},
		{title: "TYPE", cell: event.GetType},
		{title: "OBJECT", cell: event.GetObject},
		{title: "FIELD", cell: event.GetField},
		{title: "CHANGE", cell: changeText},
		{title: "REASON", cell: event.GetReason},
		{title: "MESSAGE", cell: event.GetMessage},
	}
}

func changeText(e *apiv1.HostEvent) string {
	if e.GetOld() == "" {
		return e.GetNew()
	}
	return e.GetOld() + " -> " + e.GetNew()
}

func formatMillis(t *timestamppb.Timestamp) string {
	return t.AsTime().UTC().Format("2006-01-02T15:04:05.000Z")
}

// encodeEvent has the time to the millisecond: many things happen in a second.
func encodeEvent(e *apiv1.HostEvent) object {
	out := encode(e, keepZeros)
	for i := range out {
		if out[i].key == "time" {
			out[i].value = formatMillis(e.GetTime())
		}
	}
	return out
}

// events are the last ones of all hosts, by time.
func (s *session) events(ctx context.Context, last uint32) error {
	return s.withFleet(ctx, func(ctx context.Context, f *Fleet) ([]Silence, error) {
		lists, silent := ask(ctx, f, func(ctx context.Context, c client) ([]*apiv1.HostEvent, error) {
			return received(c.WatchEvents(ctx, &apiv1.WatchHostEventsRequest{Last: last}))
		})
		all := slices.Concat(lists...)
		slices.SortStableFunc(all, func(a, b *apiv1.HostEvent) int {
			return cmp.Or(a.GetTime().AsTime().Compare(b.GetTime().AsTime()), cmp.Compare(a.GetHost(), b.GetHost()))
		})
		if len(all) == 0 && (s.format() == formatTable || s.format() == formatWide) {
			return silent, nil
		}
		return silent, show(s.Stdout, s.format(), eventColumns(), all, encodeEvent)
	})
}

// received reads a stream to its end.
func received[T any](stream *connect.ServerStreamForClient[T], err error) ([]*T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // what it had to say was read
	var out []*T
	for stream.Receive() {
		out = append(out, stream.Msg())
	}
	return out, stream.Err()
}

// follow writes the events of all hosts as they come, until ctx ends or no agent answers any more.
func (s *session) follow(ctx context.Context, last uint32) error {
	fleet := Dial(s.sockets)
	defer fleet.Close()
	var mu sync.Mutex
	silent := 0
	var wg sync.WaitGroup
	for _, a := range fleet.agents {
		wg.Go(func() {
			err := s.followOne(ctx, a, last, &mu)
			if ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				silent++
				fmt.Fprintf(s.Stderr, "warning: %s\n", printable(Silence{Socket: a.socket, Err: err}.Error()))
			}
		})
	}
	wg.Wait()
	if silent == len(s.sockets) {
		return failure{errors.New("no agent answers")}
	}
	return nil
}

func (s *session) followOne(ctx context.Context, a agent, last uint32, mu *sync.Mutex) error {
	stream, err := a.api.WatchEvents(ctx, &apiv1.WatchHostEventsRequest{Last: last, Follow: true})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // what it had to say was read
	for stream.Receive() {
		e := stream.Msg()
		mu.Lock()
		if e.GetDropped() > 0 {
			fmt.Fprintf(s.Stderr, "warning: %s: %d events were lost before this reader got them\n", printable(e.GetHost()), e.GetDropped())
		}
		err := writeEntry(s.Stdout, s.format(), encodeEvent(e), eventLine(e))
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return cmp.Or(stream.Err(), errors.New("the stream ended"))
}

// eventLine is an event for people, where no table can be: nobody knows how wide it will be.
func eventLine(e *apiv1.HostEvent) string {
	var words []string
	for _, c := range eventColumns() {
		if text := c.cell(e); text != "" {
			words = append(words, printable(text))
		}
	}
	return strings.Join(words, "  ")
}

func (s *session) logs(ctx context.Context, tunnel string, since time.Duration, follow bool) error {
	req := &apiv1.WatchLogRequest{Tunnel: tunnel, Follow: follow}
	if since > 0 {
		req.Since = timestamppb.New(s.Now().Add(-since))
	}
	central, err := s.central()
	if err != nil {
		return err
	}
	if central != nil {
		defer central.close()
		stream, err := central.hosts.WatchLog(ctx, req)
		if err != nil {
			return told(err)
		}
		return s.showLog(ctx, stream, told)
	}
	fleet := Dial(s.sockets)
	defer fleet.Close()
	owner, _, err := s.owner(ctx, fleet, target{tunnel: tunnel})
	if err != nil {
		return failure{err}
	}
	stream, err := owner.api.WatchLog(ctx, req)
	if err != nil {
		return failure{errors.New(reason(err))}
	}
	return s.showLog(ctx, stream, func(err error) error { return failure{errors.New(reason(err))} })
}

// showLog writes entries as they come, until the stream or ctx ends.
func (s *session) showLog(ctx context.Context, stream *connect.ServerStreamForClient[apiv1.LogEntry], told func(error) error) error {
	defer func() { _ = stream.Close() }() // what it had to say was read
	for stream.Receive() {
		e := stream.Msg()
		if err := writeEntry(s.Stdout, s.format(), encode(e, keepZeros), formatTime(e.GetTime())+"  "+printable(e.GetMessage())); err != nil {
			return failure{err}
		}
	}
	if err := stream.Err(); err != nil && ctx.Err() == nil {
		return told(err)
	}
	return nil
}
