package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func (s *session) drainCommand() *cobra.Command {
	drain := &cobra.Command{
		Use: "drain tunnel|host NAME", Short: "Moves traffic away, waits until none is left, then takes down", RunE: what("drain", "tunnel", "host"),
		Long: `Moves traffic to other tunnels and takes a tunnel, or all tunnels of a host, down when nothing is forwarded over them any more.

Stages: ANNOUNCED_WORSE (what leaves takes other tunnels; BGP neighbors hear of a longer way), WITHDRAWN (they hear of none; what still
comes is forwarded), QUIET (nothing was forwarded for 5 s), DOWN. When packets still come at the deadline the drain ends with TIMED_OUT,
exit code 1: the tunnel stays up and withdrawn. Then drain it again, disable it, or abort.

The drain goes on when this command is interrupted; give it again to look on.`,
	}
	drain.AddCommand(
		s.drainOf(&cobra.Command{Use: "tunnel NAME", Short: "Drains one tunnel", Args: cobra.ExactArgs(1), ValidArgsFunction: s.tunnelNames()},
			func(name string) target { return target{tunnel: name} }),
		s.drainOf(&cobra.Command{Use: "host [NAME]", Short: "Drains all tunnels of a host; those that it gets later are down from the beginning",
			Args: cobra.MaximumNArgs(1), ValidArgsFunction: s.hostNames()}, func(name string) target { return target{host: name} }),
	)
	return drain
}

func (s *session) drainOf(c *cobra.Command, of func(name string) target) *cobra.Command {
	var timeout time.Duration
	var abort, force bool
	c.RunE = func(c *cobra.Command, args []string) error {
		t := of(strings.Join(args, ""))
		switch {
		case timeout <= 0:
			return fmt.Errorf("--timeout: %s is not positive", timeout)
		case abort:
			return s.change(c.Context(), t, apiv1.ActionAbort, false)
		}
		return s.drain(c.Context(), t, timeout, force)
	}
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for traffic to end")
	c.Flags().BoolVar(&abort, "abort", false, "end the drain and bring traffic back")
	forceFlag(c, &force)
	return c
}

func (s *session) drain(ctx context.Context, t target, timeout time.Duration, force bool) error {
	central, err := s.central()
	if err != nil {
		return err
	}
	if central != nil {
		defer central.close()
		return s.drainAt(ctx, central, t, durationpb.New(timeout), force)
	}
	fleet := Dial(s.sockets)
	defer fleet.Close()
	owner, elsewhere, err := s.owner(ctx, fleet, t)
	if err != nil {
		return failure{err}
	}
	stream, err := owner.api.Drain(ctx, &apiv1.DrainRequest{Tunnel: t.tunnel, Timeout: durationpb.New(timeout), Force: force, ConnectionsUpElsewhere: elsewhere})
	if err != nil {
		return failure{explained(err)}
	}
	return s.showDrain(stream, func(err error) error { return failure{explained(err)} })
}

// showDrain writes the steps of a drain until it has ended.
func (s *session) showDrain(stream *connect.ServerStreamForClient[apiv1.DrainProgress], told func(error) error) error {
	defer func() { _ = stream.Close() }() // what it had to say was read
	var failed []string
	for stream.Receive() {
		p := stream.Msg()
		line := fmt.Sprintf("%s  %-20s  %-15s  %s", formatTime(p.GetTime()), printable(p.GetTunnel()), p.GetStage(), printable(p.GetMessage()))
		if err := writeEntry(s.Stdout, s.format(), encode(p, keepZeros), line); err != nil {
			return failure{err}
		}
		if p.GetStage() == apiv1.DrainTimedOut || p.GetStage() == apiv1.DrainAborted {
			failed = append(failed, fmt.Sprintf("tunnel %s: %s", p.GetTunnel(), p.GetStage()))
		}
	}
	switch {
	case stream.Err() != nil:
		return told(stream.Err())
	case len(failed) > 0:
		return failure{errors.New(strings.Join(failed, ", "))}
	}
	return nil
}

// writeEntry writes one of a stream of entries: for people a line, as JSON a line with one object, as YAML a document.
func writeEntry(w io.Writer, f format, entry object, line string) error {
	switch f {
	case formatJSON:
		text, err := entry.MarshalJSON()
		if err != nil {
			return err
		}
		line = string(text)
	case formatYAML:
		if _, err := fmt.Fprintln(w, "---"); err != nil {
			return err
		}
		return writeYAML(w, entry)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
