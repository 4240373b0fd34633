// Package manifest reads resources from YAML and JSON files, strictly: a field that does not exist, a value of the wrong type, a key
// or an object that is there twice is a Finding with its file, line and field path. Secrets are read where a manifest says, only
// for what this host owns, and neither they nor their length ever get into a Finding.
package manifest
