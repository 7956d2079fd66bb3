// Runs the core layer by layer and compares every word that it sends with the golden vectors.
//
// The plan (VECTORS/plan.txt) has a line for each job: the layer and the number of the job; its first channel; how many
// channels, rows, groups of pixels, and words a group it sends; the file of what its sources send (- : still there from
// the job before); the file of its weights, tables and the job itself; the file of the expected words. A word says
// where it belongs, so words may come in any order. Every place must get its word, once.
//
// Plusargs: +vectors=FOLDER (vectors/0); +stalls=PERCENT of the cycles in which the sender pauses and the receiver is
// not ready (0), +seed=N of these (1); +dump=FILE: write every word received, for python -m hdl dump;
// +patience=CYCLES without a word in or out until the core is taken to hang (1000000).
//
// Prints PASS, or FAIL with the first wrong word, and ends with $fatal (exit status not 0) on FAIL.
`include "core.svh"

module testbench;
  localparam integer SETTLED = 16;  // cycles without a word after which a job is over

  reg clk = 0, rst = 1;
  reg load_valid = 0, words_ready = 0;
  wire load_ready, words_valid;
  reg [`PART_BITS-1:0] load_payload = 0;
  wire [`WORD_BITS-1:0] words_payload;

  // verilator lint_off PINMISSING
  core core (
    .clk(clk),
    .rst(rst),
    .load__valid(load_valid),
    .load__ready(load_ready),
    .load__payload(load_payload),
    .words__valid(words_valid),
    .words__ready(words_ready),
    .words__payload(words_payload)
  );
  // verilator lint_on PINMISSING

  always #5 clk = ~clk;

  // What is expected of a job, by place, and what has come.
  reg [`WORD_BITS-1:0] expected[0:`MOST_WORDS-1];
  reg due[0:`MOST_WORDS-1];
  reg seen[0:`MOST_WORDS-1];

  string folder, layer, sources_file, load_file, words_file, dump_file;
  integer job, channel, channels, rows, groups, each;
  integer plan, parts, dump, fields, stalls, seed, patience;
  integer jobs = 0, received = 0, errors = 0, cycles = 0;

  function automatic integer place(input reg [`WORD_BITS-1:0] word);
    integer c, r, g, i;
    c = 32'(word[`CHANNEL_AT+:`CHANNEL_BITS]);
    r = 32'(word[`ROW_AT+:`ROW_BITS]);
    g = 32'(word[`GROUP_AT+:`GROUP_BITS]);
    i = 32'(word[`INDEX_AT+:`INDEX_BITS]);
    if (c >= channels || r >= rows || g >= groups || i >= each) place = -1;
    else place = ((c * rows + r) * groups + g) * each + i;
  endfunction

  // The first error is told, all are counted.
  task automatic wrong(input string what, input reg [`WORD_BITS-1:0] word);
    if (errors == 0)
      $display("FAIL: layer %s, channel %0d, row %0d, group %0d, %s %0d: %s", layer,
               channel + 32'(word[`CHANNEL_AT+:`CHANNEL_BITS]), word[`ROW_AT+:`ROW_BITS], word[`GROUP_AT+:`GROUP_BITS],
               word[`MEMBRANE_AT] ? "pixel" : "chunk", word[`INDEX_AT+:`INDEX_BITS], what);
    errors = errors + 1;
  endtask

  task automatic stop(input string what);
    $display("FAIL: %s", what);
    $fatal(1, "the core does not agree with the golden vectors");
  endtask

  task automatic open(output integer file, input string name);
    file = $fopen(name, "r");
    if (file == 0) stop({"cannot read ", name});
  endtask

  task automatic expect_words;
    reg [`WORD_BITS-1:0] word;
    integer file, at;
    for (at = 0; at < `MOST_WORDS; at = at + 1) begin
      due[at] = 0;
      seen[at] = 0;
    end
    open(file, words_file);
    while ($fscanf(file, "%h\n", word) == 1) begin
      at = place(word);
      if (at < 0) stop({words_file, ": a word is outside the layer"});
      if (due[at]) stop({words_file, ": a word is there twice"});
      expected[at] = word;
      due[at] = 1;
    end
    $fclose(file);
  endtask

  task automatic receive(input reg [`WORD_BITS-1:0] word);
    integer at;
    received = received + 1;
    if (dump != 0) $fwrite(dump, "%s %0d %h\n", layer, job, word);
    at = place(word);
    if (at < 0 || !due[at]) wrong("this word does not exist", word);
    else if (seen[at]) wrong("came twice", word);
    else if (word !== expected[at]) wrong($sformatf("expected %h, received %h", expected[at], word), word);
    if (at >= 0) seen[at] = 1;
  endtask

  // Whether something waits in this cycle.
  function automatic reg stalled(input integer often);
    stalled = (often > 0) && ($urandom_range(99, 0) < often);
  endfunction

  task automatic run_job;
    reg [`PART_BITS-1:0] part;
    reg offered, taken, came, more;
    integer quiet, idle, at;
    expect_words;
    offered = 0;
    more = 1;
    quiet = 0;
    idle = 0;
    if (sources_file == "-") open(parts, load_file);
    else open(parts, sources_file);
    while (quiet < SETTLED) begin
      @(negedge clk);
      if (more && !offered && !stalled(stalls)) begin
        offered = ($fscanf(parts, "%h\n", part) == 1);
        if (!offered && sources_file != "-") begin
          $fclose(parts);
          open(parts, load_file);
          sources_file = "-";
        end else if (!offered) begin
          more = 0;
          $fclose(parts);
        end
      end
      load_valid = offered;
      if (offered) load_payload = part;
      words_ready = !stalled(stalls);
      @(posedge clk);
      cycles = cycles + 1;
      taken = load_valid && load_ready;
      came = words_valid && words_ready;
      if (came) receive(words_payload);
      if (taken) offered = 0;
      quiet = (!more && !load_valid && load_ready === 1 && words_valid === 0) ? quiet + 1 : 0;
      idle = (taken || came || !more && quiet > 0) ? 0 : idle + 1;
      if (idle > patience) stop({"layer ", layer, ": the core neither takes nor sends anything"});
    end
    for (at = 0; at < `MOST_WORDS; at = at + 1) if (due[at] && !seen[at]) wrong("did not come", expected[at]);
  endtask

  initial begin
    if (!$value$plusargs("vectors=%s", folder)) folder = "vectors/0";
    if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 1;
    if (!$value$plusargs("patience=%d", patience)) patience = 1000000;
    dump = 0;
    if ($value$plusargs("dump=%s", dump_file)) begin
      dump = $fopen(dump_file, "w");
      if (dump == 0) stop({"cannot write ", dump_file});
    end
    fields = $urandom(seed);  // from here on, $urandom_range follows the seed
    open(plan, {folder, "/plan.txt"});
    repeat (2) @(negedge clk);
    rst = 0;
    fields = $fscanf(plan, "%s %d %d %d %d %d %d %s %s %s\n", layer, job, channel, channels, rows, groups, each,
                     sources_file, load_file, words_file);
    while (fields == 10) begin
      run_job;
      jobs = jobs + 1;
      fields = $fscanf(plan, "%s %d %d %d %d %d %d %s %s %s\n", layer, job, channel, channels, rows, groups, each,
                       sources_file, load_file, words_file);
    end
    if (dump != 0) $fclose(dump);
    if (fields > 0 || jobs == 0) stop({folder, "/plan.txt: is not a plan"});
    if (errors != 0) stop($sformatf("%0d of %0d words are wrong or missing", errors, received));
    $display("PASS: %0d words of %0d jobs in %0d cycles", received, jobs, cycles);
    $finish;
  end
endmodule
