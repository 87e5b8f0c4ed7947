package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// A command or flag that was renamed is found by nobody who reads of it in a sentence or a table.
// What stands in a block is run by other tests. The changelog may name what is gone.
func TestTheCommandsThatTheDocumentsNameAreThere(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commandLine{}, kong.Name("gatehouse"))
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := filepath.Glob("../../docs/*.md")
	nested, _ := filepath.Glob("../../docs/*/*.md")
	pages = append(append(pages, nested...), "../../README.md", "../../CONTRIBUTING.md", "../../SECURITY.md")
	code, seen := regexp.MustCompile("`gatehouse ([^`]+)`"), 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range code.FindAllStringSubmatch(string(text), -1) {
			seen++
			if problem := notThere(parser.Model.Node, strings.Fields(match[1])); problem != "" {
				t.Errorf("%s: `gatehouse %s`: there is no %s", filepath.Base(page), match[1], problem)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d commands were found", seen)
	}
}

// notThere is the first word of a command that the program does not know; empty if it knows all.
// Words with bars between are commands beside each other, and a word in capitals stands for
// another.
func notThere(node *kong.Node, words []string) string {
	for _, word := range words {
		if node.DefaultCmd != nil && strings.HasPrefix(word, "-") {
			node = node.DefaultCmd
		}
		switch {
		case strings.HasPrefix(word, "-"):
			name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
			known := func(f *kong.Flag) bool {
				return f.Name == name || f.Tag.Negatable != "" && "no-"+f.Name == name || string(f.Short) == name
			}
			if !slices.ContainsFunc(slices.Concat(node.AllFlags(false)...), known) {
				return word
			}
		case len(node.Children) == 0, strings.ToLower(word) != word, word == "…":
			continue
		default:
			for name := range strings.SplitSeq(strings.ReplaceAll(word, `\|`, "|"), "|") {
				child := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == name })
				if child < 0 {
					return name
				}
				if word == name {
					node = node.Children[child]
				}
			}
		}
	}
	return ""
}
