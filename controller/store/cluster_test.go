package store_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/bordergw/bordergw/controller/pki"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
	"github.com/bordergw/bordergw/internal/secret"
)

// startCluster runs an etcd as one outside of the controller would be: TLS with client certificates, users with passwords, one of whom may
// use nothing but the controllers' keys.
func startCluster(t *testing.T) (endpoint string, settings *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	if _, err := pki.Init(dir, pki.Options{TrustDomain: "test", Operators: []string{"client"}, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "https", Host: l.Addr().String()}
	l.Close()
	data := storetest.Dir(t)
	peer := url.URL{Scheme: "unix", Path: filepath.Join(data, "peer.sock")}
	c := embed.NewConfig()
	c.Name, c.Dir, c.TickMs, c.ElectionMs, c.UnsafeNoFsync = "external", data, 10, 100, true
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{u}, []url.URL{u}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ClientTLSInfo = transport.TLSInfo{
		CertFile: filepath.Join(dir, "controller.crt"), KeyFile: filepath.Join(dir, "controller.key"),
		TrustedCAFile: filepath.Join(dir, "ca.crt"), ClientCertAuth: true,
	}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	<-server.Server.ReadyNotify()

	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "operator-client.crt"), filepath.Join(dir, "operator-client.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	settings = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	settings.RootCAs.AppendCertsFromPEM(ca)
	admin := connectTo(t, u.String(), settings, "", "")
	ctx := t.Context()
	_, errRoot := admin.UserAdd(ctx, "root", "root-password")
	_, errGrant := admin.UserGrantRole(ctx, "root", "root")
	_, errRole := admin.RoleAdd(ctx, "controllers")
	_, errPerm := admin.RoleGrantPermission(ctx, "controllers", "/bordergw/", clientv3.GetPrefixRangeEnd("/bordergw/"), clientv3.PermissionType(clientv3.PermReadWrite))
	_, errUser := admin.UserAdd(ctx, "bordergw", "the-password")
	_, errMember := admin.UserGrantRole(ctx, "bordergw", "controllers")
	_, errAuth := admin.AuthEnable(ctx)
	if err := errors.Join(errRoot, errGrant, errRole, errPerm, errUser, errMember, errAuth); err != nil {
		t.Fatal(err)
	}
	return u.String(), settings
}

func connectTo(t *testing.T, endpoint string, settings *tls.Config, user, password string) *clientv3.Client {
	t.Helper()
	c, err := store.Connect(store.ConnectOptions{
		Endpoints: []string{endpoint}, TLS: settings, User: user, Password: secret.New(password), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // its authentication may have failed
	return c
}

func TestExternalClusterWithTLSAndPassword(t *testing.T) {
	endpoint, settings := startCluster(t)
	s := open(t, connectTo(t, endpoint, settings, "bordergw", "the-password"))
	put(t, s, "a", 1)
	if err := s.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if got := names(s, "K"); len(got) != 1 {
		t.Error(got)
	}
	_, err := store.Open(t.Context(), store.Options{
		Client: connectTo(t, endpoint, settings, "", ""), Prefix: "/bordergw/", Index: index, Log: storetest.Log(t),
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without a user: %v", err)
	}
	if c, err := store.Connect(store.ConnectOptions{Endpoints: []string{endpoint}, TLS: settings, User: "bordergw", Password: secret.New("wrong-password"), Log: storetest.Log(t)}); err == nil {
		_ = c.Close()
		t.Error("a wrong password is accepted")
	}
}

func TestTooLargeForOneTransaction(t *testing.T) {
	endpoint, settings := startCluster(t)
	s := open(t, connectTo(t, endpoint, settings, "bordergw", "the-password"))
	_, err := s.Write(t.Context(), func(tx *store.Tx) error {
		for i := range 200 {
			tx.Put(store.Ref{Kind: "K", Name: strconv.Itoa(i)}, value(i))
		}
		return nil
	})
	if !errors.Is(err, store.ErrTooLarge) || err.Error() !=
		"too much for one transaction: it needs 201 conditions and 402 writes: write less at a time, or raise --max-txn-ops of etcd" {
		t.Error(err)
	}
}
