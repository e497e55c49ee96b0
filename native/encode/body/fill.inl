// Which function serves which type.
namespace hw {

static void fill_encoders(Encoders* e) {
  e->encode[Q4_0] = encode_small<encode_q4_0, 32, 18>;
  e->encode[Q4_1] = encode_small<encode_q4_1, 32, 20>;
  e->encode[Q5_0] = encode_small<encode_q5_0, 32, 22>;
  e->encode[Q5_1] = encode_small<encode_q5_1, 32, 24>;
  e->encode[Q8_0] = encode_small<encode_q8_0, 32, 34>;
  e->encode[IQ4_NL] = encode_small<encode_iq4_nl, 32, 18>;
  e->encode[MXFP4] = encode_small<encode_mxfp4, 32, 17>;
  e->encode[NVFP4] = encode_small<encode_nvfp4, 64, 36>;
  e->encode[Q1_0] = encode_small<encode_q1_0, 128, 18>;
  e->encode[Q2_0] = encode_small<encode_q2_0, 64, 18>;
  e->encode[TQ1_0] = encode_super<encode_tq1_0, 54>;
  e->encode[TQ2_0] = encode_super<encode_tq2_0, 66>;
  e->encode[Q2_K] = encode_super<encode_q2_k, 84>;
  e->encode[Q3_K] = encode_super<encode_q3_k, 110>;
  e->encode[Q4_K] = encode_super<encode_q4_k, 144>;
  e->encode[Q5_K] = encode_super<encode_q5_k, 176>;
  e->encode[Q6_K] = encode_super<encode_q6_k, 210>;
  e->encode[IQ4_XS] = encode_super<encode_iq4_xs, 136>;
  e->encode[IQ2_XXS] = encode_super<encode_iq2_xxs, 66>;
  e->encode[IQ2_XS] = encode_super<encode_iq2_xs, 74>;
  e->encode[IQ2_S] = encode_super<encode_iq2_s, 82>;
  e->encode[IQ3_XXS] = encode_super<encode_iq3_xxs, 98>;
  e->encode[IQ3_S] = encode_super<encode_iq3_s, 110>;
  e->encode[IQ1_S] = encode_super<encode_iq1_s, 50>;
  e->encode[IQ1_M] = encode_super<encode_iq1_m, 56>;
  e->feedback[Q4_0] = with_feedback<Form4_0>;
  e->feedback[Q4_1] = with_feedback<Form4_1>;
  e->feedback[Q5_0] = with_feedback<Form5_0>;
  e->feedback[Q5_1] = with_feedback<Form5_1>;
  e->feedback[Q8_0] = with_feedback<Form8_0>;
  e->feedback[IQ4_NL] = with_feedback<Form4NL>;
  e->feedback[Q2_K] = with_feedback<Form2K>;
  e->feedback[Q3_K] = with_feedback<Form3K>;
  e->feedback[Q4_K] = with_feedback<Form4K>;
  e->feedback[Q5_K] = with_feedback<Form5K>;
  e->feedback[Q6_K] = with_feedback<Form6K>;
  e->feedback[IQ4_XS] = with_feedback<Form4XS>;
  e->feedback[IQ2_XXS] = with_feedback<FormI2XXS>;
  e->feedback[IQ2_XS] = with_feedback<FormI2XS>;
  e->feedback[IQ2_S] = with_feedback<FormI2S>;
  e->feedback[IQ3_XXS] = with_feedback<FormI3XXS>;
  e->feedback[IQ3_S] = with_feedback<FormI3S>;
  e->add_tile = add_tile;
  e->take_away = take_away;
}

}  // namespace hw
