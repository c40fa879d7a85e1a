package checklist

import (
	"os"
	"testing"
	"time"
)

const small = `# Ship it

## Deploy

### Verify
- [ ] Health check returns 200
  ` + "```yaml allclear" + `
  id: deploy.health
  http: {url: "${env.url}/health"}
  watch: {for: 15m, every: 30s, max_failures: 2}
  ` + "```" + `
- [x] Logs are quiet
`

func TestParseReadsItemsAndBlocks(t *testing.T) {
	list, problems := Parse("small.md", []byte(small))
	if len(problems) > 0 {
		t.Fatalf("problems:\n%v", problems)
	}
	item := list.Item("deploy.health")
	if item == nil || !item.ExplicitID || item.Ticked || item.Block.Type.Name != "http" {
		t.Fatalf("item: %+v", item)
	}
	if w := item.Block.Settings.Watch.Value; w.For != 15*time.Minute || w.MaxFailures != 2 || w.Samples() != 30 || w.NoData != "inconclusive" {
		t.Errorf("watch: %+v", w)
	}
	if p := item.Block.Type.Params.Content[1]; p.Line != 9 || p.Column != 15 {
		t.Errorf("url stands at %d:%d, want 9:15", p.Line, p.Column)
	}
	logs := list.Item("deploy.verify.logs-are-quiet")
	if logs == nil || !logs.Ticked || logs.Block != nil || logs.Pos.Line != 12 || logs.Pos.Col != 3 {
		t.Errorf("logs: %+v", logs)
	}
}

// TestReference reads a document of the developer's choice; it is registered only
// when $ALLCLEAR_REFERENCE names one, and then expects the reference's numbers.
func TestReference(t *testing.T) {
	file := os.Getenv("ALLCLEAR_REFERENCE")
	if file == "" {
		return
	}
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, problems := Parse(file, src)
	items := 0
	for range list.Items() {
		items++
	}
	if items != 183 || len(list.byID) != 183 || problems.HasErrors() {
		t.Errorf("%d items, %d ids, problems:\n%v", items, len(list.byID), problems)
	}
	for item := range list.Items() {
		if item.Box != 144 {
			t.Errorf("first box at byte %d, want 144", item.Box)
		}
		break
	}
}
