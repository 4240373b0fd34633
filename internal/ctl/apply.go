package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func (s *session) applyCommand() *cobra.Command {
	var paths []string
	req := &apiv1.ApplyRequest{}
	c := &cobra.Command{
		Use: "apply -f FOLDER|FILE|-", Short: "Creates and changes resources at a controller, all of them or none",
		Long: `Creates and changes resources at a controller, and shows what changes. All documents of all files are one transaction.

What a document leaves out is chosen when the resource is created (cloud addresses, inside addresses, keys) and stays as it is later. Files
and environment variables that hold keys are read here; what is sent is the key.

Exit codes: 0 done, or nothing to do; 1 refused, for the reasons that are printed with file and line; 2 wrong usage, or a file that cannot
be read.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			docs, err := s.readDocuments(paths, c.InOrStdin())
			if err != nil {
				return err
			}
			return s.apply(c.Context(), docs, req)
		},
	}
	c.Flags().StringArrayVarP(&paths, "filename", "f", nil, "a folder of manifests, a file, or - for the standard input; may be given more than once")
	c.Flags().BoolVar(&req.DryRun, "dry-run", false, "let the controller check everything and show what would change, and change nothing")
	c.Flags().BoolVar(&req.DefaultTunnels, "default-tunnels", false,
		"give each new connection of which no tunnel is in the files those of the default layout; nobody can read their keys: replace them")
	return c
}

// documents is what the files say.
type documents struct {
	objects   []held
	positions manifest.Positions
}

// readDocuments reads files of which every document is good.
func (s *session) readDocuments(paths []string, stdin io.Reader) (*documents, error) {
	docs, findings, err := s.decode(paths, stdin)
	switch {
	case err != nil:
		return nil, err
	case apiv1.Refused(findings):
		return nil, s.printFindings(findings)
	case len(docs.objects) == 0:
		return nil, failure{errors.New("there is no resource in the files")}
	}
	return docs, nil
}

// decode reads files and says what is wrong with them.
func (s *session) decode(paths []string, stdin io.Reader) (*documents, []*apiv1.Finding, error) {
	if len(paths) == 0 {
		return nil, nil, errors.New("name a folder or file with -f")
	}
	docs := &documents{}
	var findings []*apiv1.Finding
	for _, path := range paths {
		files := []*apiv1.ManifestFile{{Name: "-"}}
		var err error
		if path == "-" {
			files[0].Content, err = io.ReadAll(stdin)
		} else {
			files, err = readManifests([]string{path})
		}
		if err != nil {
			return nil, nil, err
		}
		for _, f := range files {
			objects, found, _ := manifest.Decode(f.GetName(), f.GetContent(), &docs.positions)
			findings = append(findings, found...)
			for _, o := range objects {
				h, ok := o.Message.(held)
				if !ok {
					continue
				}
				if err := s.readSecrets(h.ProtoReflect(), filepath.Dir(f.GetName())); err != nil {
					findings = append(findings, &apiv1.Finding{File: o.At.File, Line: uint32(o.At.Line), Object: apiv1.ObjectName(o.Kind, o.Name), Message: err.Error()})
				}
				docs.objects = append(docs.objects, h)
			}
		}
	}
	return docs, findings, nil
}

// resources are the documents as a request has them.
func (d *documents) resources() []*apiv1.Resource {
	out := make([]*apiv1.Resource, len(d.objects))
	for i, o := range d.objects {
		out[i] = wrapped(o)
	}
	return out
}

func (s *session) printFindings(findings []*apiv1.Finding) error {
	for _, f := range findings {
		fmt.Fprintln(s.Stderr, printable(manifest.Format(f)))
	}
	return failure{errors.New("refused; nothing was changed")}
}

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 4096

// readSecrets puts the content of files and variables in place of their names: a controller must not read its own for us.
func (s *session) readSecrets(m protoreflect.Message, dir string) (err error) {
	if source, ok := m.Interface().(*apiv1.SecretSource); ok {
		return s.readSecret(source, dir)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				if err = s.readSecrets(v.List().Get(i).Message(), dir); err != nil {
					break
				}
			}
		default:
			err = s.readSecrets(v.Message(), dir)
		}
		return err == nil
	})
	return err
}

func (s *session) readSecret(source *apiv1.SecretSource, dir string) error {
	var text string
	switch {
	case source.GetFile() != "":
		path := source.GetFile()
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", path, manifest.Cause(err))
		}
		if len(content) > maxSecret {
			return fmt.Errorf("%s is larger than %d bytes", path, maxSecret)
		}
		text = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	case source.GetEnv() != "":
		text = s.Getenv(source.GetEnv())
	default:
		return nil
	}
	if text == "" {
		return fmt.Errorf("the secret in %s%s is empty", source.GetFile(), source.GetEnv())
	}
	source.File, source.Env, source.Value = "", "", text
	return nil
}

func (s *session) apply(ctx context.Context, docs *documents, req *apiv1.ApplyRequest) error {
	c, err := s.required()
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req.Resources = docs.resources()
	resp, err := c.Apply(ctx, req)
	if err != nil {
		var e *connect.Error
		if errors.As(err, &e) && len(refusal(e)) > 0 {
			findings := refusal(e)
			docs.positions.Locate(findings)
			return s.printFindings(findings)
		}
		return told(err)
	}
	docs.positions.Locate(resp.GetWarnings())
	for _, f := range resp.GetWarnings() {
		fmt.Fprintf(s.Stderr, "warning: %s\n", printable(manifest.Format(f)))
	}
	return s.showApplied(resp, req.GetDryRun())
}

func (s *session) showApplied(resp *apiv1.ApplyResponse, dryRun bool) error {
	if s.format() == formatJSON || s.format() == formatYAML {
		list := make([]any, len(resp.GetResults()))
		for i, r := range resp.GetResults() {
			list[i] = append(object{{"action", r.GetAction()}}, encodeHeld(inside(r.GetAfter()))...)
		}
		return writeDocument(s.Stdout, s.format(), object{{"items", list}})
	}
	note := ""
	if dryRun {
		note = " (dry run)"
	}
	for _, r := range resp.GetResults() {
		after := inside(r.GetAfter())
		name := apiv1.ObjectName(string(after.ProtoReflect().Descriptor().Name()), after.GetName())
		if _, err := fmt.Fprintf(s.Stdout, "%s %s%s\n", printable(name), strings.ToLower(r.GetAction()), note); err != nil {
			return err
		}
		if r.GetAction() == "UNCHANGED" {
			continue
		}
		for _, line := range differences(inside(r.GetBefore()), after, r.GetSecrets()) {
			if _, err := fmt.Fprintf(s.Stdout, "  %s\n", printable(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// differences tells what changes in spec and display name, field by field. Of secrets it tells that they are replaced.
func differences(before, after held, secrets []string) []string {
	old, new := map[string]string{}, map[string]string{}
	flatten(before, old)
	flatten(after, new)
	var paths []string
	for p := range old {
		paths = append(paths, p)
	}
	for p := range new {
		if _, both := old[p]; !both {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var out []string
	for _, p := range paths {
		was, had := old[p]
		is, has := new[p]
		if had && (!has || was != is) {
			out = append(out, "- "+p+": "+was)
		}
		if has && (!had || was != is) {
			out = append(out, "+ "+p+": "+is)
		}
	}
	for _, p := range secrets {
		if _, said := old[p]; before != nil && (said || !slices.Contains(out, "+ "+p+": "+redacted)) {
			out = append(out, "~ "+p+": replaced")
		}
	}
	return out
}

func flatten(o held, into map[string]string) {
	if o == nil {
		return
	}
	if name := o.GetMetadata().GetDisplayName(); name != "" {
		into["metadata.displayName"] = name
	}
	m := o.ProtoReflect()
	if f := m.Descriptor().Fields().ByName("spec"); m.Has(f) {
		flattenValue("spec", encodeMessage(m.Get(f).Message(), omitZeros), into)
	}
}

func flattenValue(path string, v any, into map[string]string) {
	switch v := v.(type) {
	case object:
		if len(v) == 2 && v[1].key == redactedMarker {
			into[path] = redacted
			return
		}
		for _, m := range v {
			flattenValue(path+"."+m.key, m.value, into)
		}
	case []any:
		for i, item := range v {
			flattenValue(fmt.Sprintf("%s[%d]", path, i), item, into)
		}
	default:
		into[path] = fmt.Sprint(v)
	}
}

// wrapped puts a resource into the message that can hold any kind.
func wrapped(o held) *apiv1.Resource {
	out := &apiv1.Resource{}
	m := out.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.Message().FullName() == o.ProtoReflect().Descriptor().FullName() {
			m.Set(f, protoreflect.ValueOfMessage(proto.Clone(o).ProtoReflect()))
		}
	}
	return out
}

// inside takes it out again; nil when there is none.
func inside(r *apiv1.Resource) held {
	m := r.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("resource"))
	if f == nil {
		return nil
	}
	o, _ := m.Get(f).Message().Interface().(held)
	return o
}
