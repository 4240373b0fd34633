package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab/internal/deb"
	"github.com/bordergw/bordergw/test/lab/internal/guest"
	"github.com/bordergw/bordergw/test/lab/internal/initramfs"
	"github.com/bordergw/bordergw/test/lab/internal/qemu"
)

// vm runs the command in a virtual machine and returns its exit code. A guest that ends without reporting one is an
// error which shows the end of the serial log.
func (r *run) vm(ctx context.Context, s system) (int, error) {
	start := time.Now()
	if _, err := r.writeJob(s); err != nil {
		return 0, err
	}
	image := filepath.Join(r.job, "initramfs")
	if err := writeInitramfs(ctx, image, s.kernel); err != nil {
		return 0, err
	}
	c := &console{sockets: map[string]string{}, exit: make(chan int, 1), ready: func() {
		say("guest ready after %.1f s", time.Since(start).Seconds())
	}}
	defer c.close()
	for port, handle := range map[string]func(net.Conn){
		qemu.PortStdout:  func(conn net.Conn) { c.output(os.Stdout, conn) },
		qemu.PortStderr:  func(conn net.Conn) { c.output(os.Stderr, conn) },
		qemu.PortControl: c.control,
	} {
		if err := c.listen(r.job, port, handle); err != nil {
			return 0, err
		}
	}
	m := qemu.Machine{
		Kernel: s.kernel.Image(), Initramfs: image, KVM: qemu.HasKVM(),
		MemoryMiB: r.memoryMiB, CPUs: r.cpus,
		Job: r.job, Root: s.root, Results: r.results, Serial: filepath.Join(r.results, "serial.log"), Sockets: c.sockets,
	}
	if s.foreign() {
		m.Checkout = r.checkout
	}
	say("booting %s with kernel %s, %d MiB, %d CPUs, %s", s.suite, s.kernel.Version, m.MemoryMiB, m.CPUs, acceleration(m.KVM))
	err := runQEMU(ctx, m, c)
	select {
	case code := <-c.exit:
		return code, nil
	default:
	}
	return 0, fmt.Errorf("the guest ended without an exit code (qemu: %w); the end of %s:\n%s", err, m.Serial, tail(m.Serial, 70))
}

func acceleration(kvm bool) string {
	if kvm {
		return "KVM"
	}
	return "emulated (the CPU offers no vmx or svm)"
}

func writeInitramfs(ctx context.Context, path string, kernel deb.Kernel) error {
	files, err := initramfs.Order(ctx, kernel.Root, kernel.Version,
		append(initramfs.BootModules(), initramfs.DataPathModules()...))
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(initramfs.Write(ctx, w, kernel.Busybox, files), w.Flush(), f.Close())
}

// runQEMU runs the machine to its end. When ctx ends, the guest is asked to end the command, and killed after a grace.
func runQEMU(ctx context.Context, m qemu.Machine, c *console) error {
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.Args()...)
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	cmd.Cancel = c.quit
	cmd.WaitDelay = killGrace
	err := cmd.Run()
	c.wait()
	if stderr.Len() > 0 {
		err = errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
	}
	return err
}

// console is the host's end of the guest's virtio ports.
type console struct {
	sockets   map[string]string
	listeners []net.Listener
	done      sync.WaitGroup
	ready     func()
	exit      chan int

	mu   sync.Mutex
	conn net.Conn // of the control port
}

// listen makes a socket for QEMU to connect to and handles the one connection.
func (c *console) listen(dir, port string, handle func(net.Conn)) error {
	path := filepath.Join(dir, port)
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	c.sockets[port] = path
	c.listeners = append(c.listeners, l)
	c.done.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return // closed: QEMU did not start
		}
		defer func() { _ = conn.Close() }()
		handle(conn)
	})
	return nil
}

// output copies what the command prints. When nobody reads it any more, the command is ended, as SIGPIPE would have
// done, and the rest is read and dropped: a port that is not read blocks the guest.
func (c *console) output(to io.Writer, conn net.Conn) {
	if _, err := io.Copy(to, conn); err != nil {
		_ = c.quit()
		_, _ = io.Copy(io.Discard, conn)
	}
}

func (c *console) control(conn net.Conn) {
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var code int
		switch word, rest, _ := strings.Cut(lines.Text(), " "); word {
		case guest.MessageReady:
			c.ready()
		case guest.MessageExit:
			if _, err := fmt.Sscan(rest, &code); err == nil {
				c.exit <- code
			}
		}
	}
}

// quit asks the guest to end the command.
func (c *console) quit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return os.ErrProcessDone
	}
	_, err := fmt.Fprintln(c.conn, guest.MessageQuit)
	return err
}

// wait returns when all output has been copied. QEMU has ended, so every connection that was made is at its end.
func (c *console) wait() {
	c.close()
	c.done.Wait()
}

func (c *console) close() {
	for _, l := range c.listeners {
		_ = l.Close()
	}
}
