package checklist

import (
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
	if w := item.Block.Settings.Watch.Value; w.For != 15*time.Minute || w.MaxFailures != 2 || w.Samples() != 30 {
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
