// Command bordergw-agent serves the BorderGateways of one gateway host: it drives strongSwan, the kernel and BGP from manifests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/agent/config"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
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
	set, findings := load(c)(c.GetSource().GetFile().GetPath())
	print(findings, stdout)
	if set == nil {
		return 1
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

// load is how the host reads manifests.
func load(c *apiv1.AgentConfig) func(dir string) (*apiv1.Set, []*apiv1.Finding) {
	return func(dir string) (*apiv1.Set, []*apiv1.Finding) {
		return manifest.Load(dir, manifest.LoadOptions{Owns: config.Owns(c), Quotas: apiv1.QuotasOf(c.GetQuotas()),
			Underlay: c.GetUnderlay().GetInterface()})
	}
}
