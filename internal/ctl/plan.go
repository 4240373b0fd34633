package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func (s *session) planCommand() *cobra.Command {
	var paths []string
	c := &cobra.Command{
		Use: "plan -f FOLDER|FILE", Short: "Tells what manifests would change, with the impact of each change, and does nothing",
		Long: `Tells what manifests would change if they took the place of those in force, and does nothing.

To agents the files given are the whole desired state: what they leave out would be removed. Paths of secrets that are not absolute begin at
the agent's own folder of manifests; keys are read and compared by the agent and never shown.

A controller tells what apply would change with the same files, on all hosts: what they leave out stays. Files with keys are read here, as
apply does.

Impacts, at most: none (no packet, no session), rekey (new SAs beside the old ones, the tunnel stays up), tunnel (the tunnel or its BGP session
starts anew), connection (the same for all tunnels of a connection or gateway).

Exit codes: 0 it would be taken; 1 it would be refused, for the reasons that are printed with file and line, or nobody answered;
2 wrong usage, or a file that cannot be read; 3 an agent did not answer.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if central, err := s.central(); central != nil || err != nil {
				return s.planAt(c.Context(), central, err, paths, c.InOrStdin())
			}
			files, err := readManifests(paths)
			if err != nil {
				return err
			}
			return s.plan(c.Context(), files)
		},
	}
	c.Flags().StringArrayVarP(&paths, "filename", "f", nil, "a folder of manifests, or a file; may be given more than once")
	return c
}

// readManifests reads files as they are, and of folders those that an agent would read.
func readManifests(paths []string) ([]*apiv1.ManifestFile, error) {
	if len(paths) == 0 {
		return nil, errors.New("name a folder or file with -f")
	}
	var out []*apiv1.ManifestFile
	add := func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("-f: %w", err)
		}
		out = append(out, &apiv1.ManifestFile{Name: path, Content: content})
		return nil
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("-f: %w", err)
		}
		if !info.IsDir() {
			if err := add(path); err != nil {
				return nil, err
			}
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("-f: %w", err)
		}
		for _, e := range entries {
			if inside := filepath.Join(path, e.Name()); manifest.IsManifest(e.Name()) {
				if info, err := os.Stat(inside); err == nil && info.IsDir() {
					continue
				}
				if err := add(inside); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

func (s *session) plan(ctx context.Context, files []*apiv1.ManifestFile) error {
	return s.withFleet(ctx, func(ctx context.Context, f *Fleet) ([]Silence, error) {
		plans, silent := ask(ctx, f, func(ctx context.Context, c client) (*apiv1.PlanResponse, error) {
			return c.Plan(ctx, &apiv1.PlanRequest{Files: files})
		})
		if len(plans) == 0 {
			return silent, nil
		}
		if err := s.writePlans(plans); err != nil {
			return silent, err
		}
		for _, p := range plans {
			if !p.GetAccepted() {
				return silent, errRefused
			}
		}
		return silent, nil
	})
}

// planAt asks a controller; err is why there is none.
func (s *session) planAt(ctx context.Context, c *central, err error, paths []string, stdin io.Reader) error {
	if err != nil {
		return err
	}
	defer c.close()
	docs, findings, err := s.decode(paths, stdin)
	if err != nil {
		return err
	}
	plan := &apiv1.PlanResponse{Impact: apiv1.ImpactNone}
	if !apiv1.Refused(findings) {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		if plan, err = c.Plan(ctx, &apiv1.PlanResourcesRequest{Resources: docs.resources()}); err != nil {
			return told(err)
		}
		docs.positions.Locate(plan.GetFindings())
	}
	plan.Findings = append(findings, plan.GetFindings()...)
	if err := s.writePlans([]*apiv1.PlanResponse{plan}); err != nil {
		return failure{err}
	}
	if !plan.GetAccepted() {
		return failure{errRefused}
	}
	return nil
}

// errRefused ends a plan of what would be refused; why is printed already.
var errRefused = errors.New("the manifests would be refused")

func (s *session) writePlans(plans []*apiv1.PlanResponse) error {
	if f := s.format(); f == formatJSON || f == formatYAML {
		var items []any
		for _, p := range plans {
			items = append(items, encode(p, keepZeros))
		}
		return writeDocument(s.Stdout, f, object{{"items", items}})
	}
	for i, p := range plans {
		if i > 0 {
			fmt.Fprintln(s.Stdout)
		}
		if err := writePlan(s.Stdout, p); err != nil {
			return err
		}
	}
	return nil
}

// writePlan is a plan for people: what is added (+), removed (-) and changed (~).
func writePlan(w io.Writer, p *apiv1.PlanResponse) error {
	out := newPage(w)
	if p.GetHost() == "" {
		out.heading("All hosts")
	} else {
		out.heading("Host %s", p.GetHost())
	}
	for _, f := range p.GetFindings() {
		out.line(manifest.Format(f))
	}
	marks := map[string]string{apiv1.PlanAdded: "+", apiv1.PlanRemoved: "-", apiv1.PlanChanged: "~"}
	for _, c := range p.GetChanges() {
		touches := ""
		if len(c.GetTunnels()) > 0 {
			touches = "touches " + strings.Join(c.GetTunnels(), ", ")
		}
		out.section("%s %s", marks[c.GetAction()], c.GetObject())
		out.line(c.GetAction(), "", "impact "+c.GetImpact(), touches)
		for _, f := range c.GetFields() {
			values := orDash(f.GetOld()) + " -> " + orDash(f.GetNew())
			if f.GetOld() == f.GetNew() {
				values = f.GetNew()
			}
			out.line(f.GetField(), values, f.GetImpact(), f.GetMessage())
		}
	}
	switch {
	case !p.GetAccepted() && len(p.GetChanges()) == 0:
	case len(p.GetChanges()) == 0:
		out.line("nothing would change")
	default:
		out.section("Impact at most: %s", p.GetImpact())
	}
	return out.tw.Flush()
}
