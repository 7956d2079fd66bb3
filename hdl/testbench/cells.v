// What the cells of a device do that core.v names, for simulators; synthesis brings its own. Only what the core uses:
// carry chains without injected ones, and flip-flops that always listen and are loaded or cleared with the clock.

// ECP5: a look-up table. What an unknown input does not decide is known.
module look_up (
  input wire [15:0] table_of,
  input wire a, b, c, d,
  output wire value
);
  wire [7:0] eight = d ? table_of[15:8] : table_of[7:0];
  wire [3:0] four = c ? eight[7:4] : eight[3:0];
  wire [1:0] two = b ? four[3:2] : four[1:0];
  assign value = a ? two[1] : two[0];
endmodule

// ECP5: two bits of an adder. A half's sum is its look-up table and the carry; the table also decides whether the carry
// goes on, or a new one comes from the table's lowest quarter.
module CCU2C (
  input wire CIN, A0, B0, C0, D0, A1, B1, C1, D1,
  output wire S0, S1, COUT
);
  parameter [15:0] INIT0 = 16'h0000;
  parameter [15:0] INIT1 = 16'h0000;
  parameter INJECT1_0 = "NO";
  parameter INJECT1_1 = "NO";

  wire propagate0, propagate1, new0, new1;
  look_up sum0(.table_of(INIT0), .a(A0), .b(B0), .c(C0), .d(D0), .value(propagate0));
  look_up sum1(.table_of(INIT1), .a(A1), .b(B1), .c(C1), .d(D1), .value(propagate1));
  look_up start0(.table_of(INIT0), .a(A0), .b(B0), .c(1'b0), .d(1'b0), .value(new0));
  look_up start1(.table_of(INIT1), .a(A1), .b(B1), .c(1'b0), .d(1'b0), .value(new1));
  wire carry = propagate0 ? CIN : new0;
  assign S0 = propagate0 ^ CIN;
  assign S1 = propagate1 ^ carry;
  assign COUT = propagate1 ? carry : new1;
endmodule

// ECP5: a flip-flop with a second data input, taken instead of the first while LSR is 1 (LSRMODE "PRLD").
module TRELLIS_FF (
  input wire CLK, DI, M, LSR, CE,
  output reg Q
);
  parameter GSR = "DISABLED";
  parameter CEMUX = "1";
  parameter CLKMUX = "CLK";
  parameter LSRMUX = "LSR";
  parameter LSRMODE = "LSR";
  parameter REGSET = "RESET";
  parameter SRMODE = "LSR_OVER_CE";

  wire loaded = (LSRMODE == "PRLD") ? M : 1'b0;
  always @(posedge CLK) Q <= LSR ? loaded : DI;
endmodule

// iCE40: a flip-flop.
module SB_DFF (
  input wire C, D,
  output reg Q
);
  always @(posedge C) Q <= D;
endmodule

// iCE40: a flip-flop with a reset that acts with the clock.
module SB_DFFSR (
  input wire C, R, D,
  output reg Q
);
  always @(posedge C) Q <= R ? 1'b0 : D;
endmodule
