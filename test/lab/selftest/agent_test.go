//go:build lab

package selftest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// fakeEnv makes this test binary behave as bordergw-agent and bordergwctl, as far as the lab looks at them.
const fakeEnv = "LABSELFTEST_FAKE"

func TestMain(m *testing.M) {
	if os.Getenv(fakeEnv) == "" {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "--config":
		err = fakeAgent(os.Args[2])
	case "--socket":
		err = json.NewEncoder(os.Stdout).Encode(map[string]any{"socket": os.Args[2], "args": os.Args[3:]})
	default:
		err = fmt.Errorf("unexpected arguments %q", os.Args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fakeAgent(config string) error {
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var c struct {
		API     struct{ Socket string }
		Metrics struct{ Listen string }
		Source  struct{ File struct{ Path string } }
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return err
	}
	// First the metrics: whoever can reach the API counts on them.
	metrics, err := net.Listen("tcp", c.Metrics.Listen)
	if err != nil {
		return err
	}
	_ = os.Remove(c.API.Socket)
	api, err := net.Listen("unix", c.API.Socket)
	if err != nil {
		return err
	}
	go func() {
		for {
			if conn, err := api.Accept(); err == nil {
				_ = conn.Close()
			}
		}
	}()
	// The metrics page shows the process and its manifests.
	return http.Serve(metrics, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		files, _ := filepath.Glob(filepath.Join(c.Source.File.Path, "*"))
		fmt.Fprintln(w, os.Getpid(), len(files), os.Getenv("EXTRA"))
	}))
}

func TestAgent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakeEnv, "yes")
	t.Setenv("BORDERGW_AGENT", self)
	t.Setenv("BORDERGW_CTL", self)
	l := lab.New(t)
	// Two hosts serve metrics on the same port of their own loopback addresses.
	a := l.Host("a").Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA}, Manifests: map[string]string{"x.yaml": ""}, Env: []string{"EXTRA=one"}})
	b := l.Host("b").Agent(lab.AgentOptions{Addresses: []string{lab.GatewayB}, Env: []string{"EXTRA=two"}})
	metrics := func(of *lab.Agent, want string) {
		t.Helper()
		if page, err := of.Metrics(); err != nil || strings.TrimSpace(page) != want {
			t.Errorf("metrics %q, %v, want %q", page, err, want)
		}
	}
	metrics(a, fmt.Sprint(a.Process().PID(), " 1 one"))
	metrics(b, fmt.Sprint(b.Process().PID(), " 0 two"))
	b.WriteManifests(map[string]string{"y.yaml": "", "z.yaml": ""})
	metrics(b, fmt.Sprint(b.Process().PID(), " 2 two"))

	old := a.Process()
	a.Kill(unix.SIGKILL)
	if old.Alive() {
		t.Error("alive after SIGKILL")
	}
	a.Start()
	if a.Process().PID() == old.PID() {
		t.Error("not a new process")
	}
	metrics(a, fmt.Sprint(a.Process().PID(), " 1 one"))

	var got struct {
		Socket string
		Args   []string
	}
	if err := a.CtlJSON(&got, "get", "tunnels"); err != nil || got.Socket != a.Socket() || strings.Join(got.Args, " ") != "get tunnels -o json" {
		t.Errorf("%+v, %v", got, err)
	}
}
