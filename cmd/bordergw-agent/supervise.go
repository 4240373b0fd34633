package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/bordergw/bordergw/agent"
)

// supervise tells systemd that the agent is ready after the first full apply, and feeds the watchdog as long as every loop of the
// agent moves. Without systemd it does nothing.
func supervise(ctx context.Context, a *agent.Agent, log *slog.Logger) error {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("systemd watchdog: %w", err)
	}
	interval := time.Second
	if watchdog > 0 {
		interval = min(interval, watchdog/3)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	told := false
	for {
		select {
		case <-ctx.Done():
			notify(daemon.SdNotifyStopping, log)
			return nil
		case <-ticker.C:
		}
		if !told && a.Ready() {
			told = true
			notify(daemon.SdNotifyReady, log)
		}
		if stuck := a.Stuck(); len(stuck) > 0 {
			log.Error("a loop does not move", "gateways", stuck)
			continue
		}
		if watchdog > 0 {
			notify(daemon.SdNotifyWatchdog, log)
		}
	}
}

func notify(state string, log *slog.Logger) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be told", "state", state, "error", err)
	}
}
