// Command bordergw-agent serves the BorderGateways of one gateway host: it drives strongSwan, the kernel and BGP from manifests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/agent/config"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/charon"
	bgwversion "github.com/bordergw/bordergw/internal/version"
)

// version is set by the linker.
var version string

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0, 1 for a fault or a refused configuration, 2 for wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bordergw-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "/etc/bordergw/agent.yaml", "the agent's configuration `FILE`")
	check := flags.Bool("check", false, "validate the configuration and its manifests, print every finding, and exit with 0 or 1")
	hostKey := flags.Bool("host-key", false, "print the public key that secrets for this host are sealed with (it is made if there is none), and exit")
	rotate := flags.Bool("rotate-host-key", false, "make a new key pair for sealed secrets, print its public key, and exit; the key before is accepted until the next rotation, a running agent takes the new one when it is restarted")
	printVersion := flags.Bool("version", false, "print the version and exit")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "bordergw-agent: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	info := bgwversion.Read(version)
	if *printVersion {
		fmt.Fprintln(stdout, "bordergw-agent", info)
		return 0
	}
	c, findings := config.Load(*path)
	if *check {
		return checkAll(c, findings, stdout)
	}
	print(findings, stderr)
	if c == nil {
		return 1
	}
	if *hostKey || *rotate {
		return keys(c.GetState(), *rotate, stdout, stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := serve(ctx, c, info, stderr); err != nil {
		fmt.Fprintln(stderr, "bordergw-agent:", err)
		return 1
	}
	return 0
}

// checkAll prints the findings of the configuration and, if that can be used, those of the manifests it names.
func checkAll(c *apiv1.AgentConfig, findings []*apiv1.Finding, stdout io.Writer) int {
	print(findings, stdout)
	if c == nil {
		return 1
	}
	if c.GetSource().GetController() != nil {
		return checkController(c, stdout)
	}
	mlkem, unasked := askMLKEM(c.GetCharon().GetSocket())
	set, findings := load(c, func() apiv1.Capability { return mlkem }, unsealReadOnly(c.GetState()))(c.GetSource().GetFile().GetPath())
	print(findings, stdout)
	if set == nil {
		return 1
	}
	if names := needMLKEM(set, config.Owns(c)); unasked != nil && len(names) > 0 {
		fmt.Fprintf(stdout, "not checked: whether charon has the ML-KEM that VPNTunnels %s need: %v\n", strings.Join(names, ", "), unasked)
	}
	fmt.Fprintf(stdout, "ok: %d BorderGateways, %d CustomerGateways, %d VPNConnections, %d VPNTunnels\n",
		len(set.BorderGateways), len(set.CustomerGateways), len(set.Connections), len(set.Tunnels))
	return 0
}

func print(findings []*apiv1.Finding, to io.Writer) {
	for _, f := range findings {
		fmt.Fprintln(to, manifest.Format(f))
	}
}

// askTimeout bounds what --check waits for charon.
const askTimeout = 3 * time.Second

// askMLKEM asks the charon behind socket; the error says why it is not known.
func askMLKEM(socket string) (apiv1.Capability, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	can, err := charon.Ask(ctx, charon.Options{Socket: socket})
	switch {
	case err != nil:
		return apiv1.CapabilityUnknown, err
	case can.MLKEM:
		return apiv1.CapabilityPresent, nil
	}
	return apiv1.CapabilityAbsent, nil
}

// needMLKEM names the host's tunnels that cannot work as written without ML-KEM, sorted.
func needMLKEM(set *apiv1.Set, owns func(netip.Addr) bool) []string {
	var names []string
	for name, t := range set.Tunnels {
		if addr, err := netip.ParseAddr(t.GetSpec().GetCloudAddress()); err == nil && owns(addr) && apiv1.NeedsMLKEM(t.GetSpec()) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
