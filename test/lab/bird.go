package lab

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const birdTimeout = 60 * time.Second

// BIRD is a BIRD 2 in a host's namespace.
type BIRD struct {
	host    *Host
	dir     string
	process *Process
}

// BIRD starts a BIRD with the given bird.conf. Its control socket answers when this returns.
func (h *Host) BIRD(conf string) *BIRD {
	h.lab.t.Helper()
	b := &BIRD{host: h, dir: filepath.Join(h.dir, "bird")}
	h.lab.must(os.MkdirAll(b.dir, 0o755), "%s: bird", h.name)
	b.write(conf)
	b.Start()
	return b
}

func (b *BIRD) write(conf string) {
	b.host.lab.t.Helper()
	b.host.lab.recordSecretsIn(conf)
	err := os.WriteFile(filepath.Join(b.dir, "bird.conf"), []byte("log stderr all;\n"+conf), 0o644)
	b.host.lab.must(err, "%s: bird.conf", b.host.name)
}

// Start starts BIRD again after Kill or Stop.
func (b *BIRD) Start() { b.host.lab.t.Helper(); b.start() }

// Recover starts BIRD again after Kill and has it tell its neighbors that its routes are still in the kernel (RFC 4724).
func (b *BIRD) Recover() { b.host.lab.t.Helper(); b.start("-R") }

func (b *BIRD) start(flags ...string) {
	t := b.host.lab.t
	t.Helper()
	if b.process != nil && b.process.Alive() {
		t.Fatalf("lab: %s: BIRD runs already", b.host.name)
	}
	args := append([]string{"/usr/sbin/bird", "-f", "-c", filepath.Join(b.dir, "bird.conf"), "-s", b.socket(), "-P", filepath.Join(b.dir, "pid")}, flags...)
	b.process = b.host.Start("bird", ProcessOptions{}, args...)
	Eventually(t, birdTimeout, b.host.name+": BIRD answers", func() error {
		if !b.process.Alive() {
			t.Fatalf("lab: %s: BIRD ended:\n%s", b.host.name, b.process.LogTail(20))
		}
		_, err := b.Show("status")
		return err
	})
}

// Configure replaces the configuration of the running BIRD.
func (b *BIRD) Configure(conf string) {
	b.host.lab.t.Helper()
	b.write(conf)
	_, err := b.command("configure")
	b.host.lab.must(err, "%s: configure BIRD", b.host.name)
}

// Process is the BIRD that was started last.
func (b *BIRD) Process() *Process { return b.process }

// Kill ends BIRD with SIGKILL: its sessions end without a word, its routes stay in the kernel.
func (b *BIRD) Kill() { b.host.lab.t.Helper(); b.process.Kill(unix.SIGKILL) }

// Stop ends BIRD with SIGTERM: it closes its sessions and removes its routes.
func (b *BIRD) Stop() { b.host.lab.t.Helper(); b.process.Stop() }

func (b *BIRD) socket() string { return filepath.Join(b.dir, "ctl") }

// Show returns what "show <what>" prints.
func (b *BIRD) Show(what string) (string, error) { return b.command("show " + what) }

// Disable and Enable switch a protocol off and on.
func (b *BIRD) Disable(protocol string) error { _, err := b.command("disable " + protocol); return err }
func (b *BIRD) Enable(protocol string) error  { _, err := b.command("enable " + protocol); return err }

// command speaks BIRD's control protocol: the client sends a line, the server answers with numbered lines.
func (b *BIRD) command(line string) (string, error) {
	conn, err := net.DialTimeout("unix", b.socket(), birdTimeout)
	if err != nil {
		return "", fmt.Errorf("%s: BIRD: %w", b.host.name, err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(birdTimeout)); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	if _, err := readReply(r); err != nil { // the greeting
		return "", fmt.Errorf("%s: BIRD: %w", b.host.name, err)
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	reply, err := readReply(r)
	if err != nil {
		return "", fmt.Errorf("%s: BIRD: %s: %w", b.host.name, line, err)
	}
	return reply, nil
}

// readReply reads one reply: lines "1007-text" with a code and more to come, " text" which continue the code before,
// and "0000 text" as the last one. Codes from 8000 up are errors.
func readReply(r *bufio.Reader) (string, error) {
	var out strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, " "); ok {
			fmt.Fprintln(&out, rest)
			continue
		}
		if len(line) < 5 {
			return "", fmt.Errorf("reply %q has no code", line)
		}
		code, err := strconv.Atoi(line[:4])
		if err != nil {
			return "", fmt.Errorf("reply %q has no code", line)
		}
		if code >= 8000 {
			return "", fmt.Errorf("%s", line[5:])
		}
		if line[5:] != "" {
			fmt.Fprintln(&out, line[5:])
		}
		if line[4] == ' ' {
			return out.String(), nil
		}
	}
}
