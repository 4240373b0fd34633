package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/api"
	"github.com/bordergw/bordergw/controller/audit"
	"github.com/bordergw/bordergw/controller/availability"
	"github.com/bordergw/bordergw/controller/config"
	"github.com/bordergw/bordergw/controller/events"
	"github.com/bordergw/bordergw/controller/hosts"
	"github.com/bordergw/bordergw/controller/metrics"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/relay"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/vault"
	"github.com/bordergw/bordergw/internal/secret"
	bgwversion "github.com/bordergw/bordergw/internal/version"
)

// files is what the configuration names.
type files struct {
	vault    *vault.Vault
	tokens   *access.Tokens
	tls      *tls.Config
	etcdTLS  *tls.Config
	password secret.Secret
}

func readFiles(c *apiv1.ControllerConfig, log *slog.Logger) (f files, err error) {
	if f.vault, err = vault.Open(c.GetEncryption().GetKeys()); err != nil {
		return f, err
	}
	if f.tokens, err = access.LoadTokens(c.GetAccess().GetTokens()); err != nil {
		return f, err
	}
	certificates, err := api.OpenCertificates(c.GetTls(), log)
	if err != nil {
		return f, err
	}
	f.tls = certificates.Server()
	if t := c.GetEtcd().GetTls(); t != nil {
		certificates, err := api.OpenCertificates(t, log)
		if err != nil {
			return f, fmt.Errorf("etcd: %w", err)
		}
		f.etcdTLS = certificates.Client()
	}
	if path := c.GetEtcd().GetPasswordFile(); path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return f, fmt.Errorf("etcd.passwordFile: %w", err)
		}
		f.password = secret.New(strings.TrimRight(string(content), "\r\n"))
	}
	return f, nil
}

// serve runs the controller until ctx ends.
func serve(ctx context.Context, c *apiv1.ControllerConfig, info bgwversion.Info, stderr io.Writer) (err error) {
	log := newLog(c.GetLog(), stderr)
	f, err := readFiles(c, log)
	if err != nil {
		return err
	}
	etcd, err := store.OpenEtcd(ctx, c.GetEtcd().GetData(), store.ConnectOptions{
		Endpoints: c.GetEtcd().GetEndpoints(), TLS: f.etcdTLS, User: c.GetEtcd().GetUser(), Password: f.password, Log: log,
	})
	if err != nil {
		return err
	}
	defer etcd.Close()
	st, err := store.Open(ctx, store.Options{Client: etcd.Client, Prefix: c.GetEtcd().GetPrefix(), Index: model.Indexes, Log: log})
	if err != nil {
		return err
	}
	defer st.Close()
	resources := resource.New(resource.Options{
		Store: st, Vault: f.vault, Quotas: apiv1.QuotasOf(c.GetQuotas()), InsidePools: config.Pools(c), Now: time.Now, Log: log,
	})
	n, err := resources.Rotate(ctx)
	if err != nil {
		return fmt.Errorf("encryption keys: %w", err)
	}
	if n > 0 {
		log.Info("secrets encrypted with the new key", "resources", n, "key", f.vault.Current())
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	sessions := hosts.New(hosts.Options{
		Store: st, Name: name, HostOf: hostOf, Register: hosts.Registrar(resources), Reveal: resources.Secret, Log: log,
	})
	defer sessions.Close()
	resources.Counters = sessions.Counters
	memory := events.NewMemory(st, log)
	verdicts := availability.New(availability.Options{Store: st, Log: log})

	listener, err := net.Listen("tcp", c.GetListen())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	mux := http.NewServeMux()
	(&api.Resources{Service: resources, Log: log}).Register(mux)
	mux.Handle(apiv1connect.NewFleetServiceHandler(&events.Service{Store: st, Memory: memory}, api.HandlerOptions(readers(apiv1connect.FleetServiceName), log)...))
	mux.Handle(apiv1connect.NewHostServiceHandler(&relay.Service{Relay: &relay.Relay{Store: st, Log: log}}, api.HandlerOptions(relay.Rules, log)...))
	mux.Handle(apiv1connect.NewSessionServiceHandler(sessions, api.HandlerOptions(agents(apiv1connect.SessionServiceName), log)...))
	handler := access.Authenticate(mux, c.GetAccess().GetTrustDomain(), f.tokens)

	log.Info("starting", "version", info.Version, "listen", listener.Addr(), "etcd", etcd.Client.Endpoints())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return api.Serve(ctx, listener, f.tls, handler, log) })
	group.Go(func() error { return verdicts.Run(ctx) })
	group.Go(func() error { return memory.Run(ctx) })
	group.Go(func() error {
		audit.Prune(ctx, st, c.GetAudit().GetRetention().AsDuration(), time.Now, log)
		return nil
	})
	group.Go(func() error {
		// Sessions never end by themselves, and the API waits for them.
		<-ctx.Done()
		sessions.Close()
		return nil
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-etcd.Failed():
			return fmt.Errorf("embedded etcd: %w", err)
		}
	})
	if address := c.GetMetrics().GetListen(); address != "" {
		scrape := metrics.Handler(metrics.Sources{Store: st, Sessions: sessions.Stats, Transitions: verdicts.Transitions, Version: info.Version})
		if err := serveHealth(ctx, group, address, st, scrape, log); err != nil {
			listener.Close() // ends the API, which ends the group
			return errors.Join(err, group.Wait())
		}
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd cannot be told", "error", err)
	}
	err = group.Wait()
	log.Info("stopped; agents and tunnels go on")
	return err
}

// readers allows a service to those who may read.
func readers(service string) access.Rules { return only(service, access.Operator, access.Viewer) }

// agents allows a service to agents; for which host one speaks is in its certificate.
func agents(service string) access.Rules { return only(service, access.Agent) }

func only(service string, roles ...access.Role) access.Rules {
	return func(procedure string) []access.Role {
		if strings.HasPrefix(procedure, "/"+service+"/") {
			return roles
		}
		return nil
	}
}

func hostOf(ctx context.Context) (string, error) {
	id, _ := access.From(ctx)
	if id.Role != access.Agent {
		return "", fmt.Errorf("%s is no agent", id)
	}
	return id.Name, nil
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
