package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bordergw/bordergw/internal/ctl"
)

// leaveTimeout bounds what is asked of one agent when its lab ends.
const leaveTimeout = 20 * time.Second

// leave writes into the lab's results what the agent tells and keeps: every list and description of bordergwctl, the metrics page and the
// state folder. An agent that does not run leaves its state folder only. A file has the error where its content cannot be had: the
// lab is over, and a test must not fail for it.
func (a *Agent) leave() {
	dir := filepath.Join(a.host.lab.results, a.host.name+"-agent")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		a.host.lab.t.Logf("lab: %s: %v", a.host.name, err)
		return
	}
	write := func(name, content string, err error) {
		if err != nil {
			content += fmt.Sprintf("\n%v\n", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			a.host.lab.t.Logf("lab: %s: %v", a.host.name, err)
		}
	}
	state := filepath.Join(dir, "state")
	if err := errors.Join(os.RemoveAll(state), os.CopyFS(state, os.DirFS(a.StateDir()))); err != nil {
		write("state-error.txt", "", err)
	}
	if !a.process.Alive() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	page, err := a.metrics(ctx)
	write("metrics.txt", page, err)
	for _, kind := range []string{"gateways", "connections", "tunnels", "routes", "host"} {
		out, err := a.ask(ctx, "get", kind, "-o", "json")
		write("get-"+kind+".json", out, err)
		if kind != "connections" && kind != "tunnels" {
			continue
		}
		var descriptions strings.Builder
		for _, name := range itemNames(out) {
			text, err := a.ask(ctx, "describe", kind, name)
			fmt.Fprintf(&descriptions, "== %s\n%s\n", name, text)
			if err != nil {
				fmt.Fprintln(&descriptions, err)
			}
		}
		write("describe-"+kind+".txt", descriptions.String(), nil)
	}
}

// ask is bordergwctl inside this process: at the end of every test a program to start for each question would take too long under
// emulation.
func (a *Agent) ask(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	p := ctl.Program{Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }, Now: time.Now}
	if code := p.Run(ctx, append([]string{"--socket", a.Socket()}, args...)); code != ctl.ExitOK {
		return stdout.String(), fmt.Errorf("bordergwctl %s: exit code %d: %s", strings.Join(args, " "), code, stderr.String())
	}
	return stdout.String(), nil
}

func itemNames(document string) []string {
	var list struct{ Items []struct{ Name string } }
	if json.Unmarshal([]byte(document), &list) != nil {
		return nil
	}
	var names []string
	for _, item := range list.Items {
		names = append(names, item.Name)
	}
	return names
}
