package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/sys/unix"
)

// EmbeddedOptions says where and how an etcd runs inside this process.
type EmbeddedOptions struct {
	// Dir is created if it does not exist, for this user only.
	Dir string
	Log *slog.Logger
	// NoSync leaves out fsync: fast, and a crash of the machine may lose acknowledged writes. For tests.
	NoSync bool
}

// Embedded is an etcd of one member inside this process. It listens on a Unix socket in its data folder and nowhere else, so that
// who may read the folder may use etcdctl, for a backup for example.
type Embedded struct {
	server  *embed.Etcd
	socket  string
	closing atomic.Bool
	lock    *os.File
}

const (
	// embeddedStart bounds how long the member may take to become leader of itself.
	embeddedStart = time.Minute
	// embeddedTxnOps leaves room for thousands of resources in one Apply; etcd's own default is 128.
	embeddedTxnOps = 16384
	// embeddedRequest bounds one request, in bytes.
	embeddedRequest = 8 << 20
	// embeddedQuota bounds the database, in bytes; behind it etcd refuses writes.
	embeddedQuota = 4 << 30
	// history is how long a Watch can be resumed.
	history = "1h"
	// maxSocketPath is what a Unix socket's name may have without its end (unix(7)).
	maxSocketPath = 107
)

// StartEmbedded starts the member and returns when it can be used. A folder that another process uses is an error.
func StartEmbedded(ctx context.Context, opts EmbeddedOptions) (*Embedded, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	socket := filepath.Join(dir, "etcd.sock")
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("data folder %s: its name may have at most %d bytes", dir, maxSocketPath-len("/etcd.sock"))
	}
	client, peer := url.URL{Scheme: "unix", Path: socket}, url.URL{Scheme: "unix", Path: filepath.Join(dir, "peer.sock")}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{socket: "unix://" + socket, lock: lock}
	c := embed.NewConfig()
	c.Name, c.Dir = "bordergw", dir
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	c.MaxTxnOps, c.MaxRequestBytes, c.QuotaBackendBytes = embeddedTxnOps, embeddedRequest, embeddedQuota
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, history
	// Nobody else can become leader: no need to wait for heartbeats.
	c.TickMs, c.ElectionMs = 10, 100
	c.UnsafeNoFsync = opts.NoSync
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet(opts.Log, &e.closing))
	server, err := embed.StartEtcd(c)
	if err != nil {
		e.unlock()
		return nil, fmt.Errorf("embedded etcd in %s: %w", dir, err)
	}
	e.server = server
	timeout := time.NewTimer(embeddedStart)
	defer timeout.Stop()
	select {
	case <-server.Server.ReadyNotify():
		return e, nil
	case err = <-server.Err():
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C:
		err = errors.New("not ready in time")
	}
	e.Close()
	return nil, fmt.Errorf("embedded etcd in %s: %w", dir, err)
}

// Endpoint is what Connect takes.
func (e *Embedded) Endpoint() string { return e.socket }

// Failed delivers an error when the member ends by itself.
func (e *Embedded) Failed() <-chan error { return e.server.Err() }

// Close stops the member; what was acknowledged is on disk.
func (e *Embedded) Close() {
	e.closing.Store(true)
	e.server.Close()
	e.unlock()
}

// lockFolder keeps a second process out; etcd itself would wait for the first one to end.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data folder %s: another process uses it", dir)
		}
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	return f, nil
}

// unlock gives the folder free; the lock goes with the descriptor.
func (e *Embedded) unlock() { _ = e.lock.Close() }
