// Command protoc-gen-openapi describes the services of the schema as OpenAPI 3.1: what a client without generated code sends as JSON.
package main

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	protogen.Options{}.Run(func(p *protogen.Plugin) error {
		p.SupportedEditionsMinimum, p.SupportedEditionsMaximum = descriptorpb.Edition_EDITION_PROTO3, descriptorpb.Edition_EDITION_PROTO3
		p.SupportedFeatures = uint64(1) // FEATURE_PROTO3_OPTIONAL
		d := &document{schemas: map[string]*yaml.Node{}}
		for _, f := range p.Files {
			// The agent's local API has its own socket.
			if !f.Generate || strings.HasSuffix(f.Desc.Path(), "/agent.proto") {
				continue
			}
			for _, s := range f.Services {
				for _, m := range s.Methods {
					d.method(s, m)
				}
			}
		}
		var out bytes.Buffer
		out.WriteString("# Generated from api/v1/*.proto by `make generate`.\n")
		enc := yaml.NewEncoder(&out)
		enc.SetIndent(2)
		if err := enc.Encode(d.root()); err != nil {
			return err
		}
		_, err := p.NewGeneratedFile("openapi.yaml", "").Write(out.Bytes())
		return err
	})
}
