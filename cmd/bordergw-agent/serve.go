package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/agent"
	"github.com/bordergw/bordergw/agent/metrics"
	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/server"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp/gobgp"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/firewall"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/probe"
	"github.com/bordergw/bordergw/dataplane/route"
	"github.com/bordergw/bordergw/dataplane/xfrmstat"
	"github.com/bordergw/bordergw/internal/seal"
	bgwversion "github.com/bordergw/bordergw/internal/version"
)

// serve runs the agent until ctx ends.
func serve(ctx context.Context, c *apiv1.AgentConfig, info bgwversion.Info, stderr io.Writer) error {
	log := newLog(c.GetLog(), stderr)
	host, err := hostOf(c)
	if err != nil {
		return err
	}
	api, err := server.ListenUnix(c.GetApi().GetSocket())
	if err != nil {
		return fmt.Errorf("local API: %w", err)
	}
	// The server closes it too; this is for what keeps the server from starting.
	defer api.Close()
	var scrape net.Listener
	if address := c.GetMetrics().GetListen(); address != "" {
		if scrape, err = net.Listen("tcp", address); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	kernel, err := netlink.Open()
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer kernel.Close()

	hostKeys, err := seal.OpenKeyring(c.GetState())
	if err != nil {
		return err
	}
	strongswan := charon.New(charon.Options{Socket: c.GetCharon().GetSocket(), Log: log})
	var a *agent.Agent
	src := newSource(ctx, c, host, hostKeys, surroundings{
		version: info.Version, agent: func() *agent.Agent { return a }, charon: strongswan.Capabilities, log: log,
	})
	a = agent.New(agent.Options{
		Version: info.Version, Host: host, Source: src, Log: log, State: c.GetState(),
		Parse:        parser(c, func() apiv1.Capability { return a.MLKEM(ctx) }, hostKeys),
		MaxBGPRoutes: apiv1.QuotasOf(c.GetQuotas()).BGPRoutesPerGateway,
		XfrmStat:     func() (map[string]uint64, error) { return xfrmstat.Read(xfrmstat.Path) },
		// What was admitted depends on it.
		CharonChanged: func(charon.Capabilities) { src.Reread() },
		Drivers: agent.Drivers{
			Charon:   strongswan,
			Link:     link.New(kernel, "/proc/sys", log),
			Route:    route.New(kernel, log),
			Firewall: firewall.New(log),
			Probe:    probe.New(probe.Options{Log: log}),
			BGP:      gobgp.New(gobgp.Options{Log: log}),
			BFD:      bfd.New(bfd.Options{Log: log}),
		},
	})
	srv := server.New(server.Config{View: a.View, Control: a.Local(), Planner: a, Teller: a, Metrics: metrics.Handler(a.View, info), Log: log})

	log.Info("starting", "version", info.Version, "host", host.Name, "addresses", host.Addresses)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.Run(ctx) })
	group.Go(func() error { return srv.Serve(ctx, api, scrape) })
	group.Go(func() error { return supervise(ctx, a, log) })
	group.Go(func() error { rereadOnHangup(ctx, src, log); return nil })
	err = group.Wait()
	log.Info("stopped; tunnels and routes stay as they are")
	return err
}

func rereadOnHangup(ctx context.Context, src rereader, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			log.Info("reading the desired state again")
			src.Reread()
		}
	}
}

// hostOf is the host as the configuration and the kernel describe it.
func hostOf(c *apiv1.AgentConfig) (plan.Host, error) {
	underlay, err := net.InterfaceByName(c.GetUnderlay().GetInterface())
	if err != nil {
		return plan.Host{}, fmt.Errorf("underlay.interface: %s: %w", c.GetUnderlay().GetInterface(), err)
	}
	host := plan.Host{Name: c.GetHost(), Underlay: underlay.Name, UnderlayMTU: underlay.MTU, RestartTime: c.GetBgp().GetRestartTime().AsDuration()}
	for i, text := range c.GetAddresses() {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return plan.Host{}, fmt.Errorf("addresses[%d]: %w", i, err)
		}
		host.Addresses = append(host.Addresses, addr)
	}
	return host, nil
}

func newLog(c *apiv1.LogConfig, to io.Writer) *slog.Logger {
	var level slog.Level
	// Load has checked the word; what it does not know is info.
	if err := level.UnmarshalText([]byte(c.GetLevel())); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if c.GetFormat() == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}
